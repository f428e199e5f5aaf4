"""A client that comes back by itself, loses nothing, shows nothing twice, and stays small.

async with Client("ws://127.0.0.1:5000", token) as client:
    await client.subscribe("news")
    await client.publish("news", "hello")
    async for message in client:
        print(message.topic, message.sender, message.content)
"""

from recado.client.client import Client
from recado.client.received import Gap, History, Invited, Message, Removed, Thing, TopicState
from recado.client.reconnecting import State
from recado.client.resuming import ClientError, Closed, Ended, Refused, SentAway, TokenRefused

__all__ = [
    "Client",
    "ClientError",
    "Closed",
    "Ended",
    "Gap",
    "History",
    "Invited",
    "Message",
    "Refused",
    "Removed",
    "SentAway",
    "State",
    "Thing",
    "TokenRefused",
    "TopicState",
]
