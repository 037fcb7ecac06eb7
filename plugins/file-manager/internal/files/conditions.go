package files

import (
	"crypto/sha256"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// conditions are those under which a draft takes its place, and the manner.
type conditions struct {
	ifMatch     string
	createOnly  bool
	makeParents bool
	mode        *uint32 // nil for that of the file replaced, or 0644
	sync        bool
	sha256      []byte
	lock        string
}

func (t *tree) conditionsOf(o *filev1.WriteOptions) (conditions, error) {
	c := conditions{
		ifMatch:     o.GetIfMatch(),
		createOnly:  o.GetCreateOnly(),
		makeParents: o.GetMakeParents(),
		sync:        t.sync(o.GetDurability()),
		sha256:      o.GetSha256(),
		lock:        o.GetLock(),
	}
	switch {
	case c.ifMatch != "" && c.createOnly:
		return c, status.Error(codes.InvalidArgument, "options.if_match wants a file and options.create_only wants none; set one of them")
	case len(c.sha256) != 0 && len(c.sha256) != sha256.Size:
		return c, status.Errorf(codes.InvalidArgument, "options.sha256 has %d bytes, a SHA-256 has %d", len(c.sha256), sha256.Size)
	}
	if mode := o.GetMode(); mode != 0 {
		c.mode = &mode
	}
	return c, checkMode("options.mode", o.GetMode())
}

// sync reports whether a change is to be on the disk when its call returns.
func (t *tree) sync(d filev1.Durability) bool {
	if d == filev1.Durability_DURABILITY_UNSPECIFIED {
		return t.settings.sync
	}
	return d == filev1.Durability_FSYNC
}

func checkMode(field string, mode uint32) error {
	if mode > 0o777 {
		return status.Errorf(codes.InvalidArgument, "%s is %#o; permission bits are at most 0o777", field, mode)
	}
	return nil
}

// judge says whether the draft may take the place of what is there; nil is
// nothing.
func (d *draft) judge(old *jail.Info) error {
	t := d.tree
	if old != nil {
		if err := t.wantFile(d.asked, *old); err != nil {
			return err
		}
	}
	if err := t.state.leases.Check(d.target, d.lock, false, time.Now()); err != nil {
		return err
	}
	switch {
	case old == nil && d.ifMatch != "":
		t.root.metrics.conflicts.Inc()
		return t.failf(codes.Aborted, d.asked, "there is no file, if_match wants one with the etag %.100q", d.ifMatch)
	case old != nil && d.createOnly:
		return t.failf(codes.AlreadyExists, d.asked, "the file exists, and create_only is set")
	case old != nil:
		return t.matches(d.asked, d.ifMatch, *old)
	}
	return nil
}

// matches is the error if a file has not the etag that is wanted; "" and "*" want
// none in particular.
func (t *tree) matches(path, want string, info jail.Info) error {
	if want == "" || want == "*" {
		return nil
	}
	if etag := etagOf(info); etag != want {
		t.root.metrics.conflicts.Inc()
		return t.failf(codes.Aborted, path, "the file has the etag %q, if_match wants %.100q: somebody has changed it; read it again", etag, want)
	}
	return nil
}
