package sdk

import (
	"context"
	"strings"
	"time"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
)

// hostPatience is how long the host may take to greet: it does so when it has
// described and configured the plugin.
const hostPatience = 24 * time.Hour

// serveLink takes calls by the link, if the host has one, until endLink is
// called. The process does not wait for its end: a handler may ignore that it
// is cancelled.
func (p *plugin) serveLink() error {
	socket, err := wire.InheritLink()
	if socket == nil {
		return err
	}
	p.link = link.NewServer(link.ServerOptions{Logger: Logger().Named("link"), IsNonBlocking: isNonBlocking, GreetTimeout: hostPatience})
	p.registerOwn(p.link)
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), nearKey{}, p.near))
	p.endLink = cancel
	go p.link.ServeConn(ctx, socket)
	return nil
}

// isNonBlocking reports whether a method's options say so.
func isNonBlocking(method string) bool {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return false
	}
	call, ok := proto.GetExtension(d.Options(), optionsv1.E_Call).(*optionsv1.Call)
	return ok && call.GetNonBlocking()
}
