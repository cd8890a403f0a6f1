"""A chat over one duplex call: a client and a server that talk whenever they like.

`python -m chat_app.server` and `python -m chat_app.client` are the two programs; `server.ChatServicer`,
`server.AckServicer`, `client.chat` and `client.chat_sync` are what they are made of.
"""
