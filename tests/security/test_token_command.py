"""`nasfeat-server token new`."""

import pytest
from click.testing import CliRunner

from nasfeat_server.cli.main import main
from nasfeat_server.security.tokens import parse_tokens


@pytest.mark.parametrize("tenant", ["cameras", "north.gate-1"])
def test_a_new_token_is_known_by_the_lines_for_the_file(tenant: str) -> None:
    """What is printed for the file is whole, and finds the token that is printed beside it; no two are the same."""
    made = [CliRunner().invoke(main, ["token", "new", "--tenant", tenant]) for _ in range(2)]
    assert [result.exit_code for result in made] == [0, 0]
    assert made[0].stdout != made[1].stdout
    token = made[0].stdout.removesuffix("\n")
    table = parse_tokens(made[0].stderr.partition("\n")[2].encode())
    assert table.owners[table.find(token) or b""] == tenant
    assert token not in made[0].stderr


def test_what_cannot_name_a_tenant_is_wrong_usage() -> None:
    """Exit code 2, and what is allowed."""
    result = CliRunner().invoke(main, ["token", "new", "--tenant", "a b"])
    assert (result.exit_code, "'a b' cannot name a tenant" in result.stderr) == (2, True)
