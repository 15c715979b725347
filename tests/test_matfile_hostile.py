"""Small files that ask for too much come to an error, in seconds and bounded memory.

They are decoded by a process of its own, which must live through all of them.
"""

import mathostile
import mathostile73
import pytest
from matdamage import in_another_process

FILES = mathostile.FILES | {
    f"HDF5: {name.replace('_', ' ')}": case for name, case in mathostile73.FILES.items()
}
LIBRARIES_MB = 300
"""What jax and the like take before anything is loaded."""


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("hostile")
    jobs = []
    for number, (write, _) in enumerate(FILES.values()):
        path = folder / f"{number}.mat"
        write(path)
        assert path.stat().st_size < 12 << 20
        jobs.append(["decode", str(path)])
    return dict(zip(FILES, in_another_process(jobs), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_hostile_file(name, decoded):
    found = decoded[name]
    assert FILES[name][1] in found["result"]
    assert found["seconds"] < 5
    assert found["peak_mb"] < LIBRARIES_MB + 700
