"""A server of `aiosmtpd`, until it is interrupted.

    smtp_server.py PORT

It prints `ready`, and the mails that it takes.
"""

import signal
import sys

from aiosmtpd.controller import Controller


class Printer:
    async def handle_DATA(self, server, session, envelope):
        print(f"from {envelope.mail_from} to {', '.join(envelope.rcpt_tos)}:")
        print(envelope.content.decode(), end="")
        return "250 taken"


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
controller = Controller(
    Printer(), hostname="127.0.0.1", port=int(sys.argv[1]), server_hostname="mail.example", ident="SMTP"
)
controller.start()
print("ready")
signal.sigwait([signal.SIGINT])
controller.stop()
