"""What a gaia plugin in Python needs beside its own services: one file to copy.

    api = gaia_plugin.Api("hello.binpb")        # descriptors, made from your .proto
    HelloResponse = api.message("hello.v1.HelloResponse")

    class Greeter:
        def Hello(self, request, context):      # the methods of the service, by name
            return HelloResponse(text="Hello, " + request.name)

    gaia_plugin.serve(api, {"hello.v1.Greeter": Greeter()}, config="hello.v1.Config")

An object that serves may have these methods, too; each is optional:

    configure(config)  takes the config{} block, a message of the type that serve was
                       told; it returns the faults that it found as (path, detail) pairs
    shutdown()         is called last, when no call is in flight any more
    metrics()          returns text in Prometheus' format, for the host's /metrics

There is no generated code: messages are made from the descriptors at run time. It needs
grpcio (Debian: apt-get install python3-grpcio) and Python 3.8.
"""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from concurrent import futures

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as missing:
    # What `env python3` finds is often one of pyenv's or a virtual environment's; Debian's
    # grpcio is in Debian's Python. exec keeps the process id, which the host has noted.
    system = "/usr/bin/python3"
    if os.path.realpath(sys.executable) == os.path.realpath(system) or not os.access(system, os.X_OK):
        sys.exit("gaia_plugin: %s for %s: apt-get install python3-grpcio, or pip install grpcio" % (missing, sys.executable))
    os.execv(system, [system] + sys.argv)

COOKIE = "9b1f0e0a-1c1b-4f0e-8f0c-6f3a1d2c7e55"
MAX_MESSAGE = 64 << 20  # bytes, as the host has it
MAX_METADATA = 64 << 10
MAX_ERROR = 8 << 10  # bytes of text: it travels in a header, which has bounds
STOP_GRACE = 3.0  # seconds for calls in flight; the host kills after 5
CANCEL_GRACE = 0.5  # seconds for calls that were cancelled
OWN_THREADS = 8  # for the host's questions, which must not wait for anybody's call

Code = grpc.StatusCode

# Set when the process is about to be replaced or stopped. Calls are still served for a while;
# one that lasts for as long as its caller likes, such as a stream of events, ends then:
#   while not gaia_plugin.draining.wait(1): yield …
draining = threading.Event()


class Refused(Exception):
    """Raised in a call: what the caller is told. Any other exception is a bug of the
    plugin: it goes to the log, and the caller is told that there is one."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Api:
    """The services and messages of a FileDescriptorSet, as `buf build -o x.binpb` and
    `protoc --include_imports --include_source_info -o x.binpb` write it. A path that is
    not absolute begins at the program's own directory."""

    def __init__(self, path):
        home = os.path.dirname(os.path.realpath(sys.argv[0]))
        with open(os.path.join(home, path), "rb") as file:
            self.files = file.read()
        self._pool = descriptor_pool.DescriptorPool()
        waiting = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(self.files).file}

        def add(name):
            file = waiting.pop(name, None)
            if file is not None:
                for dependency in file.dependency:
                    add(dependency)
                self._pool.Add(file)

        for name in list(waiting):
            add(name)

    def message(self, name):
        """The class of a message, by its full name."""
        return _message_class(self._pool, name)

    def service(self, name):
        """The descriptor of a service, by its full name."""
        return self._pool.FindServiceByName(name)


def serve(api, services, config="", version="", live_config=False, exclusive=False, calls=64):
    """Serves until the host asks for the end, or dies.

    services are the objects that serve, by the full name of the service. config is the
    name of the message that configure takes. live_config promises that configure may be
    called again while calls are in flight; without it a changed config means another
    process. exclusive says that two processes cannot run at once. calls is how many are
    served at once: the host holds back more, unless its operator says otherwise."""
    if os.environ.get("GAIA_PLUGIN") != COOKIE:
        sys.exit("%s is a gaia plugin, which a gaia host starts: put it into plugin_dir and name it in config.hcl" % sys.argv[0])
    # What the host handed over beside the standard streams is not for our children.
    for name in "GAIA_LINK_FD", "GAIA_KEEPER_FD":
        if name in os.environ:
            os.set_inheritable(int(os.environ.pop(name)), False)
    _log_to_host()
    description = dict(
        name=os.path.basename(sys.argv[0]), version=version, services=sorted(services), files=api.files,
        config_message=config, live_config=live_config, exclusive=exclusive, defaults=dict(concurrency=calls))
    _Plugin(api, services, description, calls).run()


class _Plugin:
    def __init__(self, api, services, description, calls):
        self._api, self._services, self._description = api, services, description
        self._door, self._shut, self._inside, self._calls = threading.Condition(), False, 0, calls
        self._stop = threading.Event()
        self._grace = STOP_GRACE

    def run(self):
        server = grpc.server(
            futures.ThreadPoolExecutor(self._calls + OWN_THREADS),
            options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE),
                     ("grpc.max_metadata_size", MAX_METADATA), ("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([
            _handlers("gaia.plugin.v1.Plugin", Describe=self._describe, Configure=self._configure,
                      AnnounceDrain=self._announce_drain, Drain=self._drain, CollectMetrics=self._collect_metrics),
            _handlers("grpc.health.v1.Health", Check=self._check),
        ] + [self._own(name, impl) for name, impl in self._services.items()])
        socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin-%d" % os.getpid())
        server.add_insecure_port("unix:" + socket)
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the host
        server.start()
        # The host's socket is in a directory that nobody else can enter.
        print("1|1|unix|%s|grpc" % socket, flush=True)
        if os.environ.get("GAIA_WATCH_STDIN") == "1":
            threading.Thread(target=self._end_with_host, daemon=True).start()
        self._stop.wait()
        unfinished = self._drained(self._grace)
        if unfinished:
            log.warning("stopped before all work was done: %d calls in flight", unfinished)
        server.stop(CANCEL_GRACE).wait()
        for impl in set(self._services.values()):
            getattr(impl, "shutdown", lambda: None)()
        sys.stdout.flush()
        os._exit(0)  # whatever a call that was cancelled still does

    def _end_with_host(self):
        """Standard input ends with the host."""
        while os.read(0, 4096):
            pass
        self._grace = CANCEL_GRACE  # nobody waits for answers
        self._stop.set()

    # Calls of callers.

    def _own(self, name, impl):
        handlers = {}
        for method in self._api.service(name).methods:
            function = getattr(impl, method.name, None)
            if function is None:
                continue  # gRPC answers UNIMPLEMENTED
            kind = "%s_%s" % ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
            wrap = self._streaming if method.server_streaming else self._answering
            handlers[method.name] = getattr(grpc, kind + "_rpc_method_handler")(
                wrap("/%s/%s" % (name, method.name), function),
                request_deserializer=self._api.message(method.input_type.full_name).FromString,
                response_serializer=self._api.message(method.output_type.full_name).SerializeToString)
        return grpc.method_handlers_generic_handler(name, handlers)

    def _answering(self, method, function):
        def call(request, context):
            with self._counted(method, context):
                return function(request, context)
        return call

    def _streaming(self, method, function):
        def call(request, context):
            with self._counted(method, context):
                yield from function(request, context)
        return call

    def _counted(self, method, context):
        return _Call(self, method, context)

    def enter(self, context):
        with self._door:
            if self._shut:
                context.set_trailing_metadata([("grpc-status-details-bin", DRAINING.SerializeToString())])
                context.abort(Code.UNAVAILABLE, DRAINING.message)
            if self._inside >= self._calls:
                context.abort(Code.RESOURCE_EXHAUSTED, "%d calls in flight, which is as many as the plugin serves at once; set limits.concurrency to that" % self._inside)
            self._inside += 1

    def leave(self):
        with self._door:
            self._inside -= 1
            self._door.notify_all()

    def _drained(self, seconds):
        """Lets nobody in any more, and waits. It returns how many are still inside."""
        draining.set()
        with self._door:
            self._shut = True
            self._door.wait_for(lambda: self._inside == 0, seconds)
            return self._inside

    # What the host asks.

    def _describe(self, _request, _context):
        return self._description

    def _configure(self, request, _context):
        name = self._description["config_message"]
        if not name:
            return {}
        config = self._api.message(name).FromString(request.config)
        faults = []
        for impl in set(self._services.values()):
            faults += getattr(impl, "configure", lambda _: ())(config) or ()
        return dict(diagnostics=[dict(path=path, summary="Value not allowed", detail=detail) for path, detail in faults])

    def _announce_drain(self, _request, _context):
        draining.set()
        return {}

    def _drain(self, _request, context):
        return dict(unfinished=self._drained(context.time_remaining() or STOP_GRACE))

    def _collect_metrics(self, _request, _context):
        pages = [impl.metrics() for impl in set(self._services.values()) if hasattr(impl, "metrics")]
        return dict(content_type="text/plain; version=0.0.4", body="".join(pages).encode())

    def _check(self, _request, _context):
        return dict(status=1)  # SERVING


class _Call:
    """Counts a call in and out, and says to its caller how it failed."""

    def __init__(self, plugin, method, context):
        self._plugin, self._method, self._context = plugin, method, context

    def __enter__(self):
        self._plugin.enter(self._context)

    def __exit__(self, kind, error, _trace):
        self._plugin.leave()
        if error is None or isinstance(error, GeneratorExit) or self._context.code() is not None:
            return False  # all is well, the caller has gone, or context.abort has said why
        if isinstance(error, Refused):
            self._context.abort(error.code, str(error)[:MAX_ERROR])
        log.error("call failed", exc_info=error, extra=dict(fields=dict(method=self._method)))
        self._context.abort(Code.INTERNAL, "plugin failed in %s; its log has the stack" % self._method)


# The messages of gaia.plugin.v1, of gRPC's health check and of a refusal, as far as they are
# used here. A message that only passes through is bytes, and an enum is a number: that is
# the same on the wire.
_CONTRACT = {
    "DescribeRequest": "",
    "DescribeResponse": "name=1 string, version=2 string, services=3 string*, files=4 bytes, config_message=5 string, "
                        "live_config=6 bool, exclusive=7 bool, defaults=8 Defaults",
    "Defaults": "concurrency=1 uint32",
    "ConfigureRequest": "config=1 bytes, subsystem=2 string",
    "ConfigureResponse": "diagnostics=1 Diagnostic*",
    "Diagnostic": "path=1 string, summary=2 string, detail=3 string",
    "AnnounceDrainRequest": "",
    "AnnounceDrainResponse": "",
    "DrainRequest": "",
    "DrainResponse": "unfinished=1 uint32",
    "CollectMetricsRequest": "",
    "CollectMetricsResponse": "content_type=1 string, body=2 bytes",
    "CheckRequest": "",
    "CheckResponse": "status=1 int32",
    "Status": "code=1 int32, message=2 string, details=3 Any*",
    "Any": "type_url=1 string, value=2 bytes",
    "ErrorInfo": "reason=1 string, domain=2 string",
}


def _contract():
    """Makes the messages of _CONTRACT."""
    file = descriptor_pb2.FileDescriptorProto(name="gaia_plugin.proto", package="gaia_plugin", syntax="proto3")
    for name, fields in _CONTRACT.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            field, kind = field.split(" ")
            field_name, number = field.split("=")
            added = message.field.add(name=field_name, number=int(number), label=3 if kind.endswith("*") else 1)
            kind = kind.rstrip("*")
            if kind in _CONTRACT:
                added.type_name = ".gaia_plugin." + kind
            else:
                added.type = descriptor_pb2.FieldDescriptorProto.Type.Value("TYPE_" + kind.upper())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: _message_class(pool, "gaia_plugin." + name)


def _message_class(pool, name):
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


_message = _contract()

# What a call is told that has not begun: the host gives it to the next instance.
DRAINING = _message("Status")(
    code=Code.UNAVAILABLE.value[0], message="plugin is draining and takes no new calls",
    details=[dict(type_url="type.googleapis.com/google.rpc.ErrorInfo",
                  value=_message("ErrorInfo")(reason="DRAINING", domain="gaia").SerializeToString())])


def _handlers(service, **functions):
    """Handlers of functions that take a message and return the fields of another."""
    def handler(name, function):
        response = _message(name + "Response")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: response(**function(request, context)),
            request_deserializer=_message(name + "Request").FromString, response_serializer=response.SerializeToString)
    return grpc.method_handlers_generic_handler(service, {n: handler(n, f) for n, f in functions.items()})


log = logging.getLogger("plugin")


class _HostFormat(logging.Formatter):
    """A line as the host reads it. extra=dict(fields={…}) adds values to it."""

    LEVELS = {"WARNING": "warn", "CRITICAL": "error"}

    def format(self, record):
        line = {"@level": self.LEVELS.get(record.levelname, record.levelname.lower()), "@message": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["stack"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line)


def _log_to_host():
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_HostFormat())
    level = {"trace": "DEBUG", "warn": "WARNING"}.get(os.environ.get("GAIA_LOG_LEVEL", "info"), os.environ.get("GAIA_LOG_LEVEL", "info").upper())
    logging.basicConfig(handlers=[handler], level=level)
    # What is printed is logged, line by line and at once, whatever locale the host has.
    sys.stdout.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
