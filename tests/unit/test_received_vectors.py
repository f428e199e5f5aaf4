"""What the server writes and what clients read are the same: both sides against tests/vectors/received.json."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from conftest import ROOT
from messaging import frames
from recado.client import Gap, Invited, Message, Refused, Removed, Thing
from recado.client.pending_requests import PendingRequests
from recado.client.received import history_of, thing_of, topics_of

Json = dict[str, Any]

VECTORS: list[Json] = json.loads((ROOT / "tests/vectors/received.json").read_text())["frames"]


@pytest.mark.parametrize("vector", [each for each in VECTORS if each["type"]], ids=lambda each: each["type"])
def test_the_server_writes_these_frames_byte_for_byte(vector: Json) -> None:
    thing = msgspec.json.decode(vector["frame"], type=getattr(frames, vector["type"]))
    assert msgspec.json.encode(thing).decode() == vector["frame"]


def test_every_kind_of_frame_and_gap_is_among_them() -> None:
    kinds: list[type[msgspec.Struct]] = [frames.Done, *frames.Push.__subclasses__()]
    assert {each["type"] for each in VECTORS} - {""} == {kind.__name__ for kind in kinds}
    reasons = {each["means"]["reason"] for each in VECTORS if each["type"] == "GapPush"}
    assert reasons == set(get_args(get_type_hints(frames.GapPush)["reason"]))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["type"] or "newer")
async def test_the_client_makes_of_them_what_they_mean(vector: Json) -> None:
    frame, means = json.loads(vector["frame"]), vector["means"]
    if means is None or "key" not in means:
        assert said(thing_of(frame)) == means
    else:
        assert await outcome(means["key"], frame) == means


def said(thing: Thing | None) -> Json | None:
    match thing:
        case Message(topic, seq, sender, content, sent_at):
            at = sent_at.isoformat().replace("+00:00", "Z")
            return {"is": "message", "topic": topic, "seq": seq, "sender": sender, "content": content, "sent_at": at}
        case Gap(topic, first, last, reason):
            return {"is": "gap", "topic": topic, "from": first, "to": last, "reason": reason}
        case Invited(topic, by):
            return {"is": "invited", "topic": topic, "by": by}
        case Removed(topic):
            return {"is": "removed", "topic": topic}
        case None:
            return None


async def outcome(key: str, frame: Json) -> Json:
    """What becomes of the request with this key."""
    calls = PendingRequests()
    request = asyncio.create_task(calls.make(key, ""))
    await asyncio.sleep(0)
    calls.settle(frame)
    await asyncio.sleep(0)
    try:
        if not request.done():
            return {"is": "retry", "key": key}
        answer = request.result()
    except Refused as exc:
        return {"is": "refusal", "key": key, "code": exc.code, "message": str(exc)}
    finally:
        request.cancel()
    match answer["action"]:
        case "history":
            page = history_of(answer)
            return {"is": "history", "key": key, "messages": [said(each) for each in page.messages], "more": page.more}
        case "topics":
            states = [asdict(each) for each in topics_of(answer)]
            topics = [{"topic": each.pop("name")} | each for each in states]
            return {"is": "topics", "key": key, "topics": topics, "more": answer["more"]}
    return {"is": "answer", "key": key} | ({"seq": answer["seq"]} if "seq" in answer else {})
