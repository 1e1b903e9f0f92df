"""What Twilio's REST API of 2010 and the servers made after it (SignalWire, Restcomm) have in common.

Forms in, JSON out, HTTP Basic; numbers as IncomingPhoneNumbers with an SmsUrl; texts and their fate posted as forms.
"""
