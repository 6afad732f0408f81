"""The log view and the gallery in a real kernel: which thread hears the browser, what is sent."""

from __future__ import annotations

import time
from importlib.metadata import version

import pytest

SIZE = "--size 128x128 --steps 2 -n 1"
#: What the views send is kept, with the thread that heard what led to it.
OPEN = """
import threading
heard, sent = [], []
%fooocus {size} --seed 1 a harbour
%fooocus {size} --seed 2 a harbour
gallery = engine.gallery()
gallery.observe(
    lambda change: heard.append((threading.current_thread().name, [i.seed for i in change.new])),
    "selected",
)
view = engine.logs()
_send, view.send = view.send, lambda content, buffers=None: sent.append(content)
view._pump._send = view.send
speak = {{"gallery": gallery.send, "view": _send}}
"""


@pytest.fixture(scope="module")
def views(notebook):
    """The kernel, with a gallery of two images and a log view."""
    notebook.run("import fooocus_nb; engine = fooocus_nb.current()\n" + OPEN.format(size=SIZE))
    yield notebook
    notebook.run("view.close(); gallery.close()")


def say(notebook, widget, content, subshell=None):
    """Send what a browser would, to the main thread or to a subshell."""
    # The kernel hands what comes for a widget to the thread on which that has spoken last.
    execute(notebook, f"speak[{widget!r}]({{'kind': 'nothing'}})", subshell)
    comm = notebook.value(f"{widget}.comm.comm_id")
    data = {"method": "custom", "content": content}
    message = notebook.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    message["header"]["subshell_id"] = subshell
    notebook.client.shell_channel.send(message)


def execute(notebook, code, subshell):
    """Run code on the main thread or on a subshell."""
    client = notebook.client
    content = {"code": code, "silent": True, "store_history": False, "user_expressions": {},
               "allow_stdin": False, "stop_on_error": True}  # fmt: skip
    request = client.session.msg("execute_request", content)
    request["header"]["subshell_id"] = subshell
    client.shell_channel.send(request)
    while True:
        reply = client.get_shell_msg(timeout=30)
        if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
            assert reply["content"]["status"] == "ok"
            return


def until(notebook, expression):
    """Wait until an expression is true in the kernel."""
    deadline = time.monotonic() + 30
    while not notebook.value(f"bool({expression})"):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


has_subshells = pytest.mark.skipif(
    int(version("ipykernel").partition(".")[0]) < 7, reason="subshells came with ipykernel 7"
)


@pytest.fixture(scope="module")
def subshell(views):
    """The id of a thread of the kernel's own that hears messages while the main one is busy."""
    client = views.client
    request = client.session.msg("create_subshell_request", {})
    client.control_channel.send(request)
    while True:
        reply = client.get_control_msg(timeout=30)
        if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
            return reply["content"]["subshell_id"]


@has_subshells
@pytest.mark.parametrize("where", ["main", "subshell"])
def test_a_selection_arrives_on_any_thread(views, subshell, where):
    views.run("heard.clear(); gallery.selected = []; heard.clear()")
    say(views, "gallery", {"kind": "select", "ids": [1, 0], "viewer": "v"},
        subshell if where == "subshell" else None)  # fmt: skip
    until(views, "heard")
    ((thread, seeds),) = views.value("heard")
    assert seeds == [2, 1]
    assert (thread == "MainThread") == (where == "main")
    assert views.value("[image.seed for image in gallery.selected]") == [2, 1]


@has_subshells
def test_selections_from_both_threads_at_once(views, subshell):
    for number in range(40):
        say(views, "gallery", {"kind": "select", "ids": [number % 2], "viewer": "v"},
            subshell if number % 3 else None)  # fmt: skip
        views.run(f"gallery.selected = gallery.images[{number % 2}:]")
    say(views, "gallery", {"kind": "select", "ids": [0], "viewer": "v"}, subshell)
    until(views, "[image.seed for image in gallery.selected] == [1]")


@has_subshells
@pytest.mark.parametrize("where", ["main", "subshell"])
def test_a_log_is_opened_from_any_thread(views, subshell, where):
    target = subshell if where == "subshell" else None
    views.run("sent.clear()")
    say(views, "view", {"kind": "open", "viewer": where, "epoch": -1, "end": 0}, target)
    until(views, "any(message['kind'] == 'reset' for message in sent)")
    (text,) = views.value("[message['text'] for message in sent if message['kind'] == 'reset']")
    assert "App started successful" in text
    views.run(f"sent.clear()\n%fooocus {SIZE} --seed 3 a harbour")
    until(views, "any('Total time' in message.get('text', '') for message in sent)")
    say(views, "view", {"kind": "whole", "viewer": where}, target)
    until(views, "any(message['kind'] == 'part' and message['last'] for message in sent)")
    say(views, "view", {"kind": "shut", "viewer": where}, target)
    until(views, "not view.following")  # nobody looks: nothing is read


def test_what_a_browser_says_may_be_anything(views):
    for widget in ("gallery", "view"):
        for content in (
            None, 7, "open", [], {}, {"kind": None}, {"kind": "open"}, {"kind": "select", "ids": 3},
            {"kind": "open", "epoch": "x", "end": {}, "viewer": []}, {"kind": "original", "id": -1},
            {"kind": "details", "id": "0"}, {"kind": "thumbs", "ids": [None, 10**9, {}]},
        ):  # fmt: skip
            say(views, widget, content)
    cell = views.run("print(len(gallery), view.engine.name)")
    assert cell.text.strip().startswith(str(views.value("len(gallery)")))


def test_only_what_is_in_the_gallery_can_be_selected(views):
    cell = views.run("gallery.selected = ['nonsense.png']", fails=True)
    assert "not in this gallery of" in cell.error


def test_every_view_stands_in_a_box(views):
    """Each has its widget for layouts, the same one until it is closed."""
    views.run(
        "import ipywidgets, PIL.Image\n"
        "PIL.Image.new('RGB', (8, 8)).save('one.png')\n"
        "shown = [engine.monitor(), engine.panel(prompt='a harbour'), engine.logs(),\n"
        "         engine.gallery(), fooocus_nb.gallery('one.png')]\n"
        "box = ipywidgets.VBox([view.widget for view in shown])"
    )
    cell = views.run("box")
    assert "application/vnd.jupyter.widget-view+json" in cell.bundles[-1]
    assert (
        views.value("[view.widget is child for view, child in zip(shown, box.children)]")
        == [True] * 5
    )
    assert views.value("[child.comm is None for child in box.children]") == [False] * 5
    views.run("for view in shown: view.close()")
    assert views.value("[child.comm is None for child in box.children]") == [True] * 5
    # A monitor that was closed shows the engine anew.
    until(views, "engine.monitor().widget.view['stage'] == 'Ready'")
    assert views.value("engine.monitor().widget is box.children[0]") is False
    views.run("engine.monitor().close()")


def test_a_notebook_that_nobody_watches_holds_the_plain_picture(new_notebook):
    """As papermill and nbclient run it: no widget that nobody could open again."""
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0", FOOOCUS_NB_DISPLAY="html")
    notebook.run("%fooocus start --demo\nimport fooocus_nb; engine = fooocus_nb.current()")
    notebook.run(f"%fooocus {SIZE} --seed 7 a harbour")
    (log,) = notebook.run("%fooocus logs --live").bundles
    (gallery,) = notebook.run("%fooocus gallery").bundles
    assert set(log) == set(gallery) == {"text/plain", "text/html"}
    assert "App started successful" in log["text/html"]
    assert "seed" in gallery["text/html"]
    assert "<script" not in log["text/html"] + gallery["text/html"]
    connected = notebook.run(
        "remote = fooocus_nb.connect(engine.url, name='theirs'); remote.logs()"
    )
    assert "cannot be read" in connected.bundles[-1]["text/html"]


def test_a_finished_cell_is_written_to_no_more(notebook):
    """Neither by its monitor nor by a thread that goes on behind it."""
    cell = notebook.run(f"%fooocus {SIZE} --seed 9 -o done a harbour")
    before = [dict(bundle) for bundle in cell.bundles]
    later = notebook.run(
        "import threading\n"
        "worker = threading.Thread(target=engine.generate, args=('a tower',),\n"
        "    kwargs={'image_number': 1, 'steps': 2, 'seed': 5})\n"
        "worker.start(); worker.join(); print('joined')",
        hook=lambda message: cell.take(message)
        if message["header"]["msg_type"] == "update_display_data" else None,
    )  # fmt: skip
    assert "joined" in later.text
    assert cell.bundles == before
    assert any("1 image" in bundle["text/plain"] for bundle in later.bundles)
