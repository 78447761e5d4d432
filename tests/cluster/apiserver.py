#!/usr/bin/env python3
"""A Kubernetes API server of the tests' own: it speaks the REST calls that kubectl makes for flowtrace, and runs the
commands of its pods in the lab's machines, in a root of their own in which /host is the machine's.

apiserver.py STATE.json     runs until its standard input is closed; prints its port

STATE.json: {"objects": {"nodes": [...], "pods": [...], "services": [...], "endpointslices": [...],
"networkpolicies": [...]}, "machines": {NODE: [word, ...]}, "faults": [FAULT, ...]}. A machine's words run what follows
them on it. A fault is {"call": "METHOD PATH", ...}, the call a regular expression that the whole of "METHOD PATH" (the
query left out) matches, with one of: "status": a code, with "reason" and "message"; "hang": true, no answer; "cut": N,
the connection is cut after N bytes of what the pod sends; and "times", how often it happens; or {"node": NODE, "pod":
"pending" | "image" | "stuck" | "between"}: what a pod on that node comes to (never begun; no image; never gone once
deleted; no image, as is known only after it has been looked at and before it is watched).
/test/state tells which pods there are, which were made, and which calls came.
"""
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spdy
import websocket

# A root of the container's own, in which /host is the machine's and can't be written, but for /host/tmp.
CONTAINER = """
box=/media
mkdir -p $box && mount -t tmpfs tmpfs $box && mkdir $box/host && mount --rbind / $box/host || exit 125
mount -t tmpfs tmpfs $box/host/tmp && mount -o remount,bind,ro $box/host || exit 125
mkdir $box/proc $box/dev $box/tmp && mount --rbind /proc $box/proc && mount --rbind /dev $box/dev || exit 125
for folder in bin sbin lib lib64 usr etc; do
    if [ -L /$folder ]; then
        cp -P /$folder $box/$folder
    elif [ -d /$folder ]; then
        mkdir $box/$folder && mount --rbind /$folder $box/$folder
    fi
done
(exec chroot $box "$@")
code=$?
exit $code
"""

GROUPS = {
    "/api/v1": [("nodes", "Node", False), ("pods", "Pod", True), ("services", "Service", True)],
    "/apis/discovery.k8s.io/v1": [("endpointslices", "EndpointSlice", True)],
    "/apis/networking.k8s.io/v1": [("networkpolicies", "NetworkPolicy", True)],
}


def api_version(root):
    return root.removeprefix("/apis/").removeprefix("/api/")


class Refused(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class Store:
    """The objects, and everybody who waits for one to change."""

    def __init__(self, state):
        self.objects = {kind: state["objects"].get(kind, []) for kind in
                        ("nodes", "pods", "services", "endpointslices", "networkpolicies")}
        self.machines = state.get("machines", {})
        self.faults = state.get("faults", [])
        self.changed = threading.Condition()
        self.version = 100
        self.events = []
        self.made, self.calls, self.answered, self.runs = [], [], [], {}
        for root, kinds in GROUPS.items():
            for plural, kind, _ in kinds:
                for item in self.objects[plural]:
                    item.update({"apiVersion": api_version(root), "kind": kind})
                    item["metadata"].setdefault("resourceVersion", "1")

    def fault(self, call, *kinds):
        """The fault that a call runs into, where it is one of these kinds."""
        with self.changed:
            for fault in self.faults:
                fits = "call" in fault and any(kind in fault for kind in kinds) and re.fullmatch(fault["call"], call)
                if fits and fault.get("times", 1) > 0:
                    if "times" in fault:
                        fault["times"] -= 1
                    return fault
        return None

    def pod_fault(self, node):
        return next((fault["pod"] for fault in self.faults if fault.get("node") == node), None)

    def find(self, namespace, name):
        for pod in self.objects["pods"]:
            if (pod["metadata"].get("namespace"), pod["metadata"]["name"]) == (namespace, name):
                return pod
        raise Refused(404, "NotFound", f'pods "{name}" not found')

    def note(self, kind, pod):
        """Tells everybody of a change. The condition is held."""
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, kind, json.loads(json.dumps(pod))))
        self.changed.notify_all()

    def add(self, namespace, pod):
        with self.changed:
            names = [(one["metadata"].get("namespace"), one["metadata"]["name"]) for one in self.objects["pods"]]
            if (namespace, pod["metadata"]["name"]) in names:
                raise Refused(409, "AlreadyExists", f'pods "{pod["metadata"]["name"]}" already exists')
            pod["metadata"]["namespace"] = namespace
            pod["metadata"]["uid"] = f"uid-{self.version}"
            pod["metadata"]["creationTimestamp"] = "2026-11-29T00:00:00Z"
            pod["status"] = {"phase": "Pending"}
            self.objects["pods"].append(pod)
            self.made.append(f'{namespace}/{pod["metadata"]["name"]}')
            self.note("ADDED", pod)
        threading.Thread(target=self.kubelet, args=(pod,), daemon=True).start()

    def remove(self, namespace, name):
        with self.changed:
            pod = self.find(namespace, name)
            pod["metadata"]["deletionTimestamp"] = "2026-11-29T00:00:01Z"
            self.note("MODIFIED", pod)
            process = self.runs.get(name)
        if self.pod_fault(pod["spec"].get("nodeName")) == "stuck":
            return pod
        if process and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

        def gone():
            time.sleep(0.1)
            with self.changed:
                if pod in self.objects["pods"]:
                    self.objects["pods"].remove(pod)
                    self.note("DELETED", pod)

        threading.Thread(target=gone, daemon=True).start()
        return pod

    # ---- The kubelet

    def set_state(self, pod, phase, state):
        with self.changed:
            pod["status"] = {"phase": phase, "containerStatuses": [
                {"name": pod["spec"]["containers"][0]["name"], "state": state}]}
            self.note("MODIFIED", pod)

    def words(self, node, command):
        return self.machines[node] + ["sh", "-c", CONTAINER, "sh"] + command

    def kubelet(self, pod):
        node = pod["spec"].get("nodeName")
        fault = self.pod_fault(node)
        if node not in self.machines or fault == "pending":
            return
        if fault == "between":
            with self.changed:
                self.changed.wait_for(lambda: any(pod["metadata"]["name"] in call for call in self.answered))
        time.sleep(0.1)
        if fault in ("image", "between"):
            message = 'Back-off pulling image "busybox"'
            return self.set_state(pod, "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": message}})
        self.set_state(pod, "Pending", {"waiting": {"reason": "ContainerCreating"}})
        container = pod["spec"]["containers"][0]
        process = subprocess.Popen(
            self.words(node, container["command"] + container.get("args", [])),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        process.log, process.ended = bytearray(), False
        with self.changed:
            self.runs[pod["metadata"]["name"]] = process
        if not pod["metadata"].get("deletionTimestamp"):
            self.set_state(pod, "Running", {"running": {"startedAt": "2026-11-29T00:00:00Z"}})
        while data := process.stdout.read1(1 << 16):
            with self.changed:
                process.log += data
                self.changed.notify_all()
        code = process.wait()
        with self.changed:
            process.ended = True
        self.set_state(pod, "Failed" if code else "Succeeded", {"terminated": {"exitCode": code}})


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def log_message(self, *args):
        pass

    # ---- What all calls have

    def handle_call(self):
        store = self.store
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        call = f"{self.command} {url.path}"
        with store.changed:
            store.calls.append(f"{call}?{url.query}")
        fault = store.fault(call, "status", "hang")
        try:
            if fault and "hang" in fault:
                time.sleep(3600)
            if fault:
                raise Refused(fault["status"], fault.get("reason", ""), fault.get("message", ""))
            self.route(call, url.path, body)
            with store.changed:
                store.answered.append(f"{call}?{url.query}")
                store.changed.notify_all()
        except Refused as refused:
            self.answer(refused.code, {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": refused.message, "reason": refused.reason, "code": refused.code})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_call

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def flag(self, name):
        return self.query.get(name, [""])[0] in ("true", "1")

    # ---- Which call it is

    def route(self, call, path, body):
        if path == "/version":
            return self.answer(200, {"major": "1", "minor": "35", "gitVersion": "v1.35.0"})
        if path == "/api":
            return self.answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            return self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                group(name.split("/")[2]) for name in GROUPS if name.startswith("/apis/")]})
        if path in GROUPS:
            return self.answer(200, resources(path))
        if path == "/test/state":
            return self.answer(200, self.state())
        for root, kinds in GROUPS.items():
            for plural, kind, _ in kinds:
                shape = rf"{root}(?:/namespaces/([^/]+))?/{plural}(?:/([^/]+))?(?:/([^/]+))?"
                if found := re.fullmatch(shape, path):
                    return self.resource(call, root, plural, kind, *found.groups(), body)
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def state(self):
        with self.store.changed:
            pods = [f'{pod["metadata"].get("namespace")}/{pod["metadata"]["name"]}'
                    for pod in self.store.objects["pods"]]
            return {"pods": pods, "made": self.store.made, "calls": self.store.calls}

    def resource(self, call, root, plural, kind, namespace, name, sub, body):
        store = self.store
        if sub == "log":
            return self.log(call, namespace, name)
        if sub == "exec":
            return self.exec(call, namespace, name)
        if self.command == "POST" and plural == "pods":
            pod = json.loads(body)
            store.add(namespace, pod)
            return self.answer(201, pod)
        if self.command == "DELETE" and plural == "pods" and name:
            return self.answer(200, store.remove(namespace, name))
        if self.command != "GET":
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method")
        if name:
            for item in store.objects[plural]:
                if item["metadata"]["name"] == name and item["metadata"].get("namespace") == namespace:
                    return self.answer(200, item)
            raise Refused(404, "NotFound", f'{plural} "{name}" not found')
        self.list(root, plural, kind, namespace)

    # ---- Lists and watches

    def is_between(self, pod):
        fault = self.store.pod_fault(pod["spec"].get("nodeName"))
        return fault == "between" and "containerStatuses" not in pod["status"]

    def fits(self, namespace, item):
        meta = item["metadata"]
        if namespace and meta.get("namespace") != namespace:
            return False
        labels = meta.get("labels", {})
        for pair in filter(None, self.query.get("labelSelector", [""])[0].split(",")):
            key, _, value = pair.partition("=")
            if labels.get(key) != value.lstrip("="):
                return False
        fields = {"metadata.name": meta["name"], "metadata.namespace": meta.get("namespace", "")}
        for pair in filter(None, self.query.get("fieldSelector", [""])[0].split(",")):
            key, _, value = pair.partition("=")
            if fields.get(key) != value.lstrip("="):
                return False
        return True

    def list(self, root, plural, kind, namespace):
        version = api_version(root)
        with self.store.changed:
            if self.flag("watch"):
                self.store.changed.wait_for(lambda: not any(self.is_between(pod) for pod in self.store.objects["pods"]))
            now = self.store.version
            items = [json.loads(json.dumps(item)) for item in self.store.objects[plural]
                     if self.fits(namespace, item)]
        if self.flag("watch"):
            return self.watch(namespace, items, {"kind": kind, "apiVersion": version, "metadata": {
                "resourceVersion": str(now), "annotations": {"k8s.io/initial-events-end": "true"}}})
        start = int(self.query.get("continue", ["0"])[0])
        # Small pages, so that kubectl has to ask for the next one.
        end = min(start + 3, len(items)) if "limit" in self.query else len(items)
        meta = {"resourceVersion": str(now)}
        if end < len(items):
            meta["continue"] = str(end)
        self.answer(200, {"kind": kind + "List", "apiVersion": version, "metadata": meta, "items": items[start:end]})

    def chunked(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def watch(self, namespace, items, bookmark):
        seen = int(self.query.get("resourceVersion", ["0"])[0] or 0)
        self.chunked("application/json")
        if not seen:
            for item in items:
                self.event("ADDED", item)
            # What has changed since is an event still to come.
            seen = int(bookmark["metadata"]["resourceVersion"])
        if self.flag("sendInitialEvents"):
            self.event("BOOKMARK", bookmark)
        while True:
            with self.store.changed:
                self.store.changed.wait_for(lambda: self.store.version > seen, 5)
                new = [event for event in self.store.events if event[0] > seen]
            for seen, what, pod in new:
                if self.fits(namespace, pod):
                    self.event(what, pod)

    def event(self, what, item):
        self.chunk(json.dumps({"type": what, "object": item}).encode() + b"\n")

    # ---- Logs

    def log(self, call, namespace, name):
        store = self.store
        store.find(namespace, name)
        process = store.runs.get(name)
        if not process:
            raise Refused(400, "BadRequest", f'container "flowtrace" in pod "{name}" is waiting to start')
        fault = store.fault(call, "cut", "skip")
        limit = fault.get("cut") if fault else None
        self.chunked("text/plain")
        sent = fault.get("skip", 0) if fault else 0
        while True:
            with store.changed:
                store.changed.wait_for(lambda: len(process.log) > sent or process.ended, 5)
                data, ended = bytes(process.log[sent:]), process.ended
            if limit is not None and sent + len(data) > limit:
                self.chunk(data[: max(limit - sent, 0)] or b"\n")
                return self.hang_up()
            if data:
                self.chunk(data)
                sent += len(data)
            elif ended:
                return self.chunk(b"")

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(2)

    # ---- Exec

    def exec(self, call, namespace, name):
        pod = self.store.find(namespace, name)
        connection = self.upgrade()
        fault = self.store.fault(call, "cut")
        left = fault["cut"] if fault else None
        command = self.query["command"]
        inputs = queue.Queue()

        def listen():
            try:
                connection.read(inputs.put)
            except OSError:
                pass
            inputs.put(None)

        # SPDY's streams are opened by what is read.
        threading.Thread(target=listen, daemon=True).start()
        connection.wait_for({"error"} | {name for name in ("stdin", "stdout", "stderr") if self.flag(name)})
        process = subprocess.Popen(
            self.store.words(pod["spec"]["nodeName"], command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True)

        def feed():
            try:
                while (data := inputs.get()) is not None:
                    process.stdin.write(data)
                    process.stdin.flush()
                process.stdin.close()
            except (BrokenPipeError, ValueError):
                pass

        threading.Thread(target=feed, daemon=True).start()

        def pump(stream, channel):
            nonlocal left
            while data := stream.read1(1 << 14):
                if left is not None and channel == "stdout":
                    if len(data) >= left:
                        connection.send(channel, data[:left])
                        return self.hang_up()
                    left -= len(data)
                connection.send(channel, data)

        pumps = [threading.Thread(target=pump, args=(process.stdout, "stdout"), daemon=True),
                 threading.Thread(target=pump, args=(process.stderr, "stderr"), daemon=True)]
        for one in pumps:
            one.start()
        for one in pumps:
            one.join()
        code = process.wait()
        status = {"metadata": {}, "status": "Success"}
        if code:
            status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                      "message": f"command terminated with non-zero exit code: exit status {code}",
                      "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}
        connection.send("error", json.dumps(status).encode())
        for channel in ("stdout", "stderr", "error"):
            connection.close(channel)
        self.close_connection = True
        # The client has to read it before the connection goes.
        time.sleep(0.3)

    def upgrade(self):
        kind = self.headers.get("Upgrade", "").lower()
        if kind == "websocket":
            # Servers before 1.29 speak no such protocol, and kubectl falls back to SPDY.
            if self.store.fault("upgrade websocket", "status"):
                raise Refused(400, "BadRequest", "unable to upgrade: unsupported protocol")
            answer = {"Upgrade": "websocket", "Sec-WebSocket-Protocol": websocket.PROTOCOL,
                      "Sec-WebSocket-Accept": websocket.accept(self.headers["Sec-WebSocket-Key"])}
            connection = websocket.Connection(self.rfile, self.wfile)
        elif kind == "spdy/3.1":
            answer = {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
            connection = spdy.Connection(self.rfile, self.wfile)
        else:
            raise Refused(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr")
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        for name, value in answer.items():
            self.send_header(name, value)
        self.end_headers()
        return connection


def group(name):
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def resources(path):
    kinds = [{"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind,
              "verbs": ["create", "delete", "get", "list", "watch"]} for plural, kind, namespaced in GROUPS[path]]
    if path == "/api/v1":
        kinds += [{"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
                  {"name": "pods/exec", "singularName": "", "namespaced": True, "kind": "PodExecOptions",
                   "verbs": ["create", "get"]}]
    return {"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": api_version(path), "resources": kinds}


def main():
    with open(sys.argv[1]) as file:
        Server.store = Store(json.load(file))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    for process in list(Server.store.runs.values()):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
