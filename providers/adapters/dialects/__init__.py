"""
The languages that models are asked in over the wire, each read and written without any input or output of its own.

A dialect rewrites the body of a request for the model that serves it, reads whole answers, and follows a stream: bytes
come in as the network cut them and go out unchanged, in pieces that end where events end, while a copy is read for what
the answer says of itself (tokens, why it ended, which model, errors).
"""
