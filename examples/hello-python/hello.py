#!/usr/bin/env python3
"""A gaia plugin in Python. It serves hello.v1.Greeter, as ../hello does in Go."""

import threading

import gaia_plugin
from gaia_plugin import Code, Refused

api = gaia_plugin.Api("hello.binpb")
HelloResponse = api.message("hello.v1.HelloResponse")
CountdownResponse = api.message("hello.v1.CountdownResponse")


class Greeter:
    def __init__(self):
        self.greeting = "Hello"
        self.lock, self.greeted = threading.Lock(), 0

    def configure(self, config):
        if "%" in config.greeting:
            return [("greeting", 'A greeting is plain text, such as "Hello", without %.')]
        self.greeting = config.greeting or "Hello"

    def Hello(self, request, context):
        if not request.name:
            raise Refused(Code.INVALID_ARGUMENT, "name is empty, want whom to greet")
        with self.lock:  # calls come on many threads
            self.greeted += 1
        return HelloResponse(text="%s, %s!" % (self.greeting, request.name))

    def Countdown(self, request, context):
        if getattr(request, "from") > 100:  # a word that Python keeps for itself
            raise Refused(Code.INVALID_ARGUMENT, "from is %d, at most 100 is allowed" % getattr(request, "from"))
        for left in range(getattr(request, "from"), -1, -1):
            yield CountdownResponse(left=left)

    def metrics(self):
        return "# HELP hello_greetings_total Greetings.\n# TYPE hello_greetings_total counter\nhello_greetings_total %d\n" % self.greeted


gaia_plugin.serve(api, {"hello.v1.Greeter": Greeter()}, config="hello.v1.Config", version="v0.1.0", live_config=True)
