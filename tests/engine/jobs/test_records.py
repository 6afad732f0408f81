"""The record of a job, as an earlier version wrote it, is read as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from fooocus_nb.engine.jobs.records import records_in

#: Written by version 0.1.0; only its paths and process are made up.
RECORDED = Path(__file__).parent / "data" / "job-0.1.0.json"


def test_a_record_of_version_0_1_0_is_read(tmp_path: Path) -> None:
    known = json.loads(RECORDED.read_text(encoding="utf-8"))
    path = tmp_path / f"job-{known['session']}.json"
    shutil.copyfile(RECORDED, path)
    (record,) = records_in(tmp_path)
    assert record.session_hash == known["session"]
    assert record.request.values == known["values"]
    assert record.request.given == known["given"]
    assert record.request.seed == 7
    assert record.request.seed_of(1) == 8
    assert record.started == known["started"]
    assert record.output_dir == Path("/home/user/fooocus-outputs")
    assert (record.kernel, record.kernel_created, record.path) == (4242, "21867", path)
    assert record.orphaned  # no process of that number began at that time
