"""`coterie budgets`: how the limits stand, and that they hold on the command line too."""


def limited(folder):
    """A network that takes two requests a day."""
    path = folder / "coterie.toml"
    path.write_text(path.read_text() + '\n[budgets.daily]\nrequests = 2\nmoney = "1.50"\n')


def test_none(run, folder):
    """It is said how to make one."""
    assert "[budgets.NAME]" in run("-C", folder, "budgets").out
    assert run("-C", folder, "budgets", "--json").json == {"budgets": []}


def test_how_they_stand(run, folder, network):
    """What was taken of what, and the third request is refused with the reason."""
    limited(folder)
    network()
    for _ in range(2):
        assert run("-C", folder, "ask", "hello").code == 0
    refused = run("-C", folder, "ask", "hello")
    (budget,) = run("-C", folder, "budgets", "--json").json["budgets"]

    assert refused.code == 4
    assert "'daily' is 2 " in refused.err
    assert budget["requests"] == {"taken": 2, "limit": 2}
    assert budget["money"] == {"taken": 0.0, "limit": 1.5}
    assert "2 of 2" in run("-C", folder, "budgets").out
