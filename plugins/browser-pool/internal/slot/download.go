package slot

import (
	"context"

	browserproto "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/download"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Download lets the page download what Options.Downloads allow, into a directory
// of its own with this name. report is told of each file, and of each that is
// refused; it does not block. Without it, and of those without a slot's page,
// files are refused. It is called once, before the first page. A slot that was
// given a directory is not used again.
func (p *Pool) Download(ctx context.Context, s *Slot, name string, report func(*browserv1.Download)) error {
	folder, err := p.Downloads.Folder(name, report)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	s.setFolder(folder)
	if folder.Partial() == "" {
		return nil
	}
	s.Retire() // what comes late is not the next one's
	if _, err := devtools.Call(ctx, s.browser.Session, browserproto.SetDownloadBehavior, browserproto.SetDownloadBehaviorParams{
		Behavior: browserproto.SetDownloadBehaviorBehaviorAllowAndName, BrowserContextID: s.context,
		DownloadPath: folder.Partial(), EventsEnabled: new(true),
	}); err != nil {
		return s.Tab.Fault(ctx, err, "downloads")
	}
	return nil
}

func (s *Slot) setFolder(f *download.Folder) {
	s.browser.mu.Lock()
	defer s.browser.mu.Unlock()
	s.folder = f
}

// refuseDownloads is how each slot begins: files that pages offer would fill the
// disk. Events are those of the browser, so that all say that they are wanted.
func (s *Slot) refuseDownloads(ctx context.Context) error {
	_, err := devtools.Call(ctx, s.browser.Session, browserproto.SetDownloadBehavior, browserproto.SetDownloadBehaviorParams{
		Behavior: browserproto.SetDownloadBehaviorBehaviorDeny, BrowserContextID: s.context, EventsEnabled: new(true),
	})
	return err
}

// download follows what the browser tells of downloads. It runs on the browser's
// goroutine.
func (b *browser) download(e devtools.Event) {
	switch e.Method {
	case "Browser.downloadWillBegin":
		var began browserproto.EventDownloadWillBegin
		if jsonv2.Unmarshal(e.Params, &began, jsonv2.AllowInvalidUTF8(true)) == nil {
			b.began(&began)
		}
	case "Browser.downloadProgress":
		var progress browserproto.EventDownloadProgress
		if jsonv2.Unmarshal(e.Params, &progress, jsonv2.AllowInvalidUTF8(true)) == nil {
			b.progressed(&progress)
		}
	}
}

func (b *browser) began(e *browserproto.EventDownloadWillBegin) {
	var owner *Slot
	all := b.downloaders()
	for s := range all {
		if s.Tab.Has(e.FrameID) {
			owner = s
		}
	}
	if owner == nil {
		// Of a frame that has gone, or of a slot that refuses all anyway.
		for s := range all {
			b.cancelDownload(s, e.GUID)
		}
		return
	}
	if !all[owner].Begin(e.GUID, e.URL, e.SuggestedFilename) {
		b.cancelDownload(owner, e.GUID)
	}
}

// progressed tells all: the names of downloads are unique, and a folder takes
// only those that it knows.
func (b *browser) progressed(e *browserproto.EventDownloadProgress) {
	for s, folder := range b.downloaders() {
		switch e.State {
		case browserproto.DownloadProgressStateInProgress:
			if !folder.Progress(e.GUID, e.TotalBytes, e.ReceivedBytes) {
				b.cancelDownload(s, e.GUID)
			}
		case browserproto.DownloadProgressStateCompleted:
			folder.Completed(e.GUID)
		case browserproto.DownloadProgressStateCanceled:
			folder.Canceled(e.GUID)
		}
	}
}

func (b *browser) cancelDownload(s *Slot, id string) {
	b.Post(browserproto.CommandCancelDownload, browserproto.CancelDownloadParams{GUID: id, BrowserContextID: s.context})
}

// downloaders are the slots that Download was called for, with their folders.
func (b *browser) downloaders() map[*Slot]*download.Folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make(map[*Slot]*download.Folder)
	for _, s := range b.slots {
		if s.folder != nil {
			found[s] = s.folder
		}
	}
	return found
}
