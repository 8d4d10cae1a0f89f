"""What the host asks, as payloads that the kernel can read."""

import pytest

from axiom.abi.link import FLAG_IGNORE_EOS, FLAG_SEND_LOGITS, StartMessage
from axiom.host.errors import UserError
from axiom.host.machine.requests import MAX_PROMPT_TOKENS, StartRequest, cancel_payload
from axiom.lang import size_of, view_of


def test_a_start_request_is_the_message_and_the_prompt() -> None:
    payload = StartRequest(
        sequence_id=9,
        prompt=[1, 2, 0xFFFFFFFF],
        max_new=5,
        temperature=0.5,
        top_k=40,
        top_p=0.75,
        seed=(1 << 64) - 1,
        eos_ids=(2, 3),
        ignore_eos=True,
        send_logits=True,
    ).payload()
    message = view_of(StartMessage, bytearray(payload))
    assert (int(message.sequence_id), int(message.n_prompt), int(message.max_new)) == (9, 3, 5)
    assert int(message.flags) == FLAG_IGNORE_EOS | FLAG_SEND_LOGITS
    assert (float(message.temperature), int(message.top_k), float(message.top_p)) == (0.5, 40, 0.75)
    assert (int(message.seed), int(message.n_eos)) == ((1 << 64) - 1, 2)
    assert [int(message.eos_ids[i]) for i in range(3)] == [2, 3, 0]
    assert payload[size_of(StartMessage) :].hex() == "0100000002000000ffffffff"
    assert cancel_payload(9).hex() == "09000000"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (StartRequest(1, [0] * (MAX_PROMPT_TOKENS + 1), 1), f"longer than {MAX_PROMPT_TOKENS}"),
        (StartRequest(1, [1], 1, eos_ids=range(9)), "9 end-of-text tokens are more than 8"),
        (StartRequest(1, [1], 1, seed=-1), "seed -1"),
        (StartRequest(1, [1], 1, top_k=1 << 32), "32 bits"),
        (StartRequest(1, [1], -1), "32 bits"),
    ],
)
def test_what_a_frame_cannot_hold_is_refused_in_words(request_: StartRequest, words: str) -> None:
    with pytest.raises(UserError, match=words):
        request_.payload()
