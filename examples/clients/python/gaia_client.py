"""A client of a gaia host in Python: one file to copy.

    host = gaia_client.Host("run/gaia.sock")
    files = host.subsystem("file_manager", "gaia.file.v1.FileManager")
    entry = files.Stat(root="workspace", path="a.txt", timeout=5).entry
    for piece in files.Read(root="workspace", path="big.bin"):
        ...

There is no generated code: the host says by gRPC reflection what its plugins serve.
It needs grpcio (Debian: apt-get install python3-grpcio) and Python 3.8.
"""

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MAX_MESSAGE = 64 << 20  # bytes, as the host has it
FIELD = descriptor_pb2.FieldDescriptorProto


class Host:
    """A host. One is enough for a whole program, threads included; close it at the end."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(  # the socket's mode guards it
            "unix:" + socket,
            options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)],
        )
        self._pool = descriptor_pool.DescriptorPool()
        self._known = set()

    def close(self):
        self.channel.close()

    def subsystem(self, name, service):
        """The methods of a service as a subsystem serves it."""
        self._learn(lambda request: setattr(request, "file_containing_symbol", service))
        return _Service(self, name, self._pool.FindServiceByName(service))

    def _learn(self, ask):
        """Takes a file of descriptors, after those that it imports."""
        request = _ReflectionRequest()
        ask(request)
        call = self.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=_ReflectionRequest.SerializeToString,
            response_deserializer=_ReflectionResponse.FromString,
        )
        answer = next(call(iter([request]), timeout=10))
        if answer.error_response.error_code:
            raise LookupError(answer.error_response.error_message)
        files = [descriptor_pb2.FileDescriptorProto.FromString(f) for f in answer.files.file]
        self._known.update(f.name for f in files)
        for file in reversed(files):  # what imports comes before what it imports
            for imported in file.dependency:
                if imported not in self._known:
                    self._learn(lambda request: setattr(request, "file_by_filename", imported))
            self._pool.Add(file)


class _Service:
    """Calls the methods of a service: unary ones return the answer, streams an iterator
    of answers. Fields are keywords. Timeout is in seconds, for all of the call."""

    def __init__(self, host, subsystem, descriptor):
        for method in descriptor.methods:
            setattr(self, method.name, self._caller(host.channel, subsystem, method))

    def _caller(self, channel, subsystem, method):
        request, answer = _message_class(method.input_type), _message_class(method.output_type)
        client, server = _kind(method)
        make = getattr(channel, "%s_%s" % ("stream" if client else "unary", "stream" if server else "unary"))
        path = "/%s/%s" % (method.containing_service.full_name, method.name)
        call = make(path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
        metadata = [("gaia-subsystem", subsystem)]

        def unary(timeout=None, **fields):
            return call(request(**fields), timeout=timeout, metadata=metadata)

        def stream(messages, timeout=None):  # of dicts, one for each message
            return call((request(**fields) for fields in messages), timeout=timeout, metadata=metadata)

        return stream if client else unary


def retry_delay(error):
    """Seconds after which a call that failed may be made again; None if it should not be."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in _Status.FromString(value).details:
                if detail.type_url.endswith("/google.rpc.RetryInfo"):
                    delay = _RetryInfo.FromString(detail.value).retry_delay
                    return delay.seconds + delay.nanos / 1e9
    return None


def _kind(method):
    """Which sides of a method are streams; descriptors of old releases do not say."""
    file = descriptor_pb2.FileDescriptorProto.FromString(method.containing_service.file.serialized_pb)
    for service in file.service:
        for m in service.method:
            if service.name == method.containing_service.name and m.name == method.name:
                return m.client_streaming, m.server_streaming
    raise LookupError(method.full_name)


def _message_class(descriptor):
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(descriptor.file.pool).GetPrototype(descriptor)


def _standard(messages):
    """Messages of grpc.reflection.v1 and google.rpc, as far as they are needed here."""
    file = descriptor_pb2.FileDescriptorProto(name="gaia_client.proto", package="gaia_client", syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in fields.items():
            repeated = kind.startswith("repeated ")
            kind = kind.split()[-1]
            f = message.field.add(name=field, number=number, label=FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL)
            if kind[0].isupper():
                f.type, f.type_name = FIELD.TYPE_MESSAGE, ".gaia_client." + kind
            else:
                f.type = getattr(FIELD, "TYPE_" + kind.upper())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [_message_class(pool.FindMessageTypeByName("gaia_client." + name)) for name in messages]


_ReflectionRequest, _, _, _ReflectionResponse, _, _Status, _, _RetryInfo = _standard({
    "ReflectionRequest": {3: ("file_by_filename", "string"), 4: ("file_containing_symbol", "string")},
    "Files": {1: ("file", "repeated bytes")},
    "Error": {1: ("error_code", "int32"), 2: ("error_message", "string")},
    "ReflectionResponse": {4: ("files", "Files"), 7: ("error_response", "Error")},
    "Any": {1: ("type_url", "string"), 2: ("value", "bytes")},
    "Status": {1: ("code", "int32"), 2: ("message", "string"), 3: ("details", "repeated Any")},
    "Duration": {1: ("seconds", "int64"), 2: ("nanos", "int32")},
    "RetryInfo": {1: ("retry_delay", "Duration")},
})
