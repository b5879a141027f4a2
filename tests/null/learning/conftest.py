import pytest

from coterie.tasks.contract import read_dataset


@pytest.fixture
def read(tmp_path):
    """Write a file and read it as a dataset: `read(content, name="train.csv", **settings)`."""

    def write_and_read(content, *, name="train.csv", task="classify", **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_dataset(path, task=task, **settings)

    return write_and_read


@pytest.fixture
def table():
    """A CSV of `text,label` rows: distinct texts, these labels in turn, and further rows as given."""

    def make(*more, labels=("card", "loan"), rows=20, header="text,label"):
        body = [f"question number {chr(97 + i % 26)}{i},{labels[i % len(labels)]}" for i in range(rows)]
        return "\n".join([header, *body, *more]) + "\n"

    return make
