#!/usr/bin/env python3
"""A plugin in Python that does what whom it greets wants."""

import os
import time

import gaia_plugin

api = gaia_plugin.Api("hello.binpb")
CountdownResponse = api.message("hello.v1.CountdownResponse")
HelloResponse = api.message("hello.v1.HelloResponse")


class Moody:
    def Hello(self, request, context):
        mood, _, argument = request.name.partition(" ")
        if mood == "bug":
            raise KeyError("a secret of the plugin")
        if mood == "exit":
            print("no mood", flush=True)
            os._exit(3)
        if mood == "wait":
            print("waiting for", argument)
            while not os.path.exists(argument):
                time.sleep(0.005)
        if mood == "log":
            gaia_plugin.log.warning("as asked", extra=dict(fields=dict(mood="good")))
        return HelloResponse(text="%s by %d" % (mood, os.getpid()))

    def Countdown(self, request, context):
        yield CountdownResponse(left=1)
        gaia_plugin.draining.wait()


gaia_plugin.serve(api, {"hello.v1.Greeter": Moody()}, config="hello.v1.Config", calls=4)
