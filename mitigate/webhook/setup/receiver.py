import base64, datetime, hashlib, hmac, http.server, json, re, sys, threading, time, uuid

STATE = uuid.uuid4().hex  # this one forgets everything when it ends
lock = threading.Lock()
verdicts = {}  # by (source, id): [sequence, verdict, or None if it has ended, its end]
modes = {}     # by source: [sequence, mode]
since = {}     # by source: what is older than this is over
acting = {}    # what is being done: the verdict by (source, id)


def hold(verdict):     # put your own action here
    print("act", verdict["event"]["id"], json.dumps(verdict["offpath"]["subject"]), verdict["offpath"]["action"], flush=True)


def release(verdict):  # and its end
    print("end", verdict["event"]["id"], flush=True)


def user_hash(hash_key, name):  # what user.hash is of an account; not needed here, but by you
    account_key = hmac.new(hash_key, b"offpath account", hashlib.sha256).digest()
    return hmac.new(account_key, name.strip().lower().encode(), hashlib.sha256).hexdigest()[:16]


def key(path):
    secret = open(path, "rb").read().strip()
    return base64.b64decode(secret[6:]) if secret.startswith(b"whsec_") else secret


def signed(headers, body):
    ident, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not re.fullmatch("[0-9]{1,12}", stamp) or abs(time.time() - int(stamp)) > 300:
        return False
    want = hmac.new(key(sys.argv[2]), f"{ident}.{stamp}.".encode() + body, hashlib.sha256).digest()
    want = "v1," + base64.b64encode(want).decode()
    return any(hmac.compare_digest(want.encode(), s.encode()) for s in headers.get("webhook-signature", "").split(" "))


def expires(verdict):
    text = re.sub(r"(\.\d{6})\d*Z$|Z$", r"\1+00:00", verdict["offpath"]["expires"])
    return datetime.datetime.fromisoformat(text).timestamp()


def settle():  # does what follows from what is known
    wanted = {}
    for (source, ident), (_, verdict, end) in verdicts.items():
        if verdict and modes.get(source, [0, "off"])[1] == verdict["offpath"]["mode"] == "enforce" and time.time() < end:
            wanted[source, ident] = verdict
    for k in list(acting):
        if k not in wanted:
            release(acting.pop(k))
    for k, verdict in wanted.items():
        if k not in acting:
            hold(verdict)
        acting[k] = verdict


def take(message):
    data = message["data"]
    source, sequence = data["source"], data["sequence"]
    if "mode" in data and modes.get(source, [0])[0] < sequence:
        modes[source] = [sequence, data["mode"]]
    for event in data.get("events", []):
        k = source, event["verdict"]["event"]["id"]
        if verdicts.get(k, [0])[0] < event["sequence"] and since.get(source, 0) <= event["sequence"]:
            active = event["event"] == "active"
            verdicts[k] = [event["sequence"], event["verdict"] if active else None, expires(event["verdict"])]
    if message["type"] == "snapshot" and since.get(source, 0) <= data["since"]:
        since[source] = data["since"]
        for k, kept in list(verdicts.items()):
            if k[0] == source and kept[0] < data["since"]:
                del verdicts[k]
        if sum(k[0] == source and v[1] is not None for k, v in verdicts.items()) < data["count"]:
            return 409
    return 204


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status = 401
        if signed(self.headers, body):
            with lock:
                status = take(json.loads(body))
                settle()
        self.send_response(status)
        self.send_header("Offpath-Receiver", STATE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def clock():
    while True:
        time.sleep(1)
        with lock:
            settle()


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    threading.Thread(target=clock, daemon=True).start()
    http.server.ThreadingHTTPServer((host, int(port)), Receiver).serve_forever()
