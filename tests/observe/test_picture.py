"""Pictures of the status page, taken by a real browser where there is one."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.observe.picture import take_picture

from checkers import installed
from credentials import write_tokens
from nasfeat_server.config import SecurityConfig
from serving import running


@pytest.mark.slow
async def test_the_page_is_pictured_as_it_looks(tmp_path: Path) -> None:
    """With a token, where it asks for one: the whole page, which has more than one colour."""
    installed("chromium", "chromium")
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": (("nasfeat_right",), {})})
    async with running(security=SecurityConfig(tokens=tokens)) as app:
        told = await take_picture(f"http://{app.metrics}/", tmp_path / "page.png", token="nasfeat_right")  # noqa: S106
    assert str(tmp_path / "page.png") in told
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == 1280
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_without_a_page_there_is_no_picture(tmp_path: Path) -> None:
    """It fails, and leaves nothing."""
    installed("chromium", "chromium")
    with pytest.raises(RuntimeError, match="no picture"):
        asyncio.run(take_picture("http://127.0.0.1:1/", tmp_path / "page.png"))
    assert not list(tmp_path.iterdir())
