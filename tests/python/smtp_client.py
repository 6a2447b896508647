"""A client of Python's `smtplib`.

    smtp_client.py PORT ROOTS

It starts TLS, trusts the roots in a file, and greets the server again.
"""

import smtplib
import ssl
import sys

port, roots = int(sys.argv[1]), sys.argv[2]

client = smtplib.SMTP("localhost", port, timeout=30)
print(client.ehlo()[1].decode())
# A greeting of one line has no list of extensions.
client.esmtp_features["starttls"] = ""
context = ssl.create_default_context(cafile=roots)
code, text = client.starttls(context=context)
print(code, text.decode())
print(client.ehlo()[1].decode())
code, text = client.quit()
print(code, text.decode())
