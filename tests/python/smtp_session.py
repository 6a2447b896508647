"""A client of the mail server in the example `smtp`: Python's `smtplib`.

    smtp_session.py PORT ROOTS

It sends mail with and without TLS, out of order, and pipelined.
"""

import smtplib
import ssl
import sys

port, roots = int(sys.argv[1]), sys.argv[2]


def show(reply):
    code, text = reply
    print(code, text.decode().replace("\n", "|"))


client = smtplib.SMTP("localhost", port, timeout=30)
show(client.ehlo())
show(client.docmd("DATA"))
show(client.docmd("EXPN all"))
show(client.mail("ann"))
show(client.docmd("MAIL FROM:ann"))
show(client.starttls(context=ssl.create_default_context(cafile=roots)))
show(client.ehlo())
show(client.docmd("STARTTLS"))
text = "Subject: dots\n\n.one\n..two\n.\nthe end\n"
print(client.sendmail("ann@a.example", ["bob@b.example", "zoe@z.example"], text))
client.send("MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n")
for _ in range(3):
    show(client.getreply())
client.send("gr\u00fc\u00dfe\r\n.\r\nNOOP\r\nQUIT\r\n".encode("latin-1"))
for _ in range(3):
    show(client.getreply())
