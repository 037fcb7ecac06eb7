package files

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/status"
)

// countEvery is how old the count of a root without a quota may be. One with a
// quota is counted once, and then kept.
const countEvery = 10 * time.Second

// Roots lists the roots with what they hold.
func (m *Manager) Roots(ctx context.Context, _ *filev1.RootsRequest) (*filev1.RootsResponse, error) {
	m.mu.RLock()
	response := &filev1.RootsResponse{}
	var roots []*root
	for _, r := range m.roots {
		roots = append(roots, r)
	}
	m.mu.RUnlock()
	slices.SortFunc(roots, func(a, b *root) int { return cmp.Compare(a.settings.name, b.settings.name) })
	for _, r := range roots {
		s := &filev1.RootStatus{Name: r.settings.name, Quota: uint64(r.settings.quota)} //nolint:gosec // not negative
		if err := m.describe(ctx, r, s); err != nil {
			s.Problem = status.Convert(err).Message()
		}
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		response.Roots = append(response.Roots, s)
	}
	return response, nil
}

func (m *Manager) describe(ctx context.Context, r *root, s *filev1.RootStatus) error {
	t, err := r.enter()
	if err != nil {
		return err
	}
	defer t.leave()
	var problem error
	if r.settings.writable {
		problem = t.toChange()
		s.Writable = problem == nil
	}
	free, err := t.jail.Free()
	if err != nil {
		return t.explain(".", err)
	}
	s.DiskFree = free
	s.CaseSensitive = !t.folds
	u, err := t.usage(ctx)
	s.Used, s.Files = uint64(u.bytes), uint64(u.files) //nolint:gosec // not negative
	return errors.Join(problem, t.explain(".", err))
}

// usage is what the tree holds: for a root with a quota what is kept, once it is
// counted; for another one a count.
func (t *tree) usage(ctx context.Context) (usage, error) {
	if t.settings.quota > 0 && t.settings.writable && !t.hasState() {
		return t.count(ctx) // nothing is kept yet, and whoever opens the state counts, too
	}
	if t.settings.quota > 0 && t.settings.writable {
		release, err := t.share(ctx) // the first count has all of it
		if err != nil {
			return usage{}, err
		}
		defer release()
		bytes, files := t.account.Used()
		return usage{bytes, files}, nil
	}
	t.counting.Lock()
	defer t.counting.Unlock()
	if time.Since(t.countedAt) > countEvery {
		u, err := t.count(ctx)
		if err != nil {
			return usage{}, err
		}
		t.account.Set(u.bytes, u.files)
		t.countedAt = time.Now()
	}
	bytes, files := t.account.Used()
	return usage{bytes, files}, nil
}

// count adds up all regular files, the trash included, and nothing of the rest of
// the state directory.
func (t *tree) count(ctx context.Context) (total usage, err error) {
	top, err := t.jail.Dir(".")
	if err != nil {
		return total, err
	}
	defer top.Close()
	err = walk(ctx, top, ".", func(_ jail.Dir, path string, info jail.Info) (bool, error) {
		if isOurs(path) {
			return false, nil
		}
		total.add(usageOf(info))
		return true, nil
	})
	if err != nil || !t.hasState() {
		return total, err
	}
	trash, err := t.state.ids()
	for _, id := range trash {
		item, _, info, openErr := t.state.openItem(id)
		if openErr != nil {
			continue
		}
		u := usageOf(info)
		if info.IsDir() {
			u, err = usageIn(ctx, item, trashContent)
		}
		item.Close()
		if err != nil {
			return total, err
		}
		total.add(u)
	}
	return total, err
}

// count is the first count of a root with a quota, while nobody changes anything.
func (s *state) count(ctx context.Context) {
	begun := time.Now()
	u, err := s.tree.count(ctx)
	if err != nil {
		if ctx.Err() == nil {
			sdk.Logger().Error("the files of a root could not be counted, its quota is not kept", "root", s.tree.settings.name, "err", err)
		}
		return
	}
	s.tree.account.Set(u.bytes, u.files)
	sdk.Logger().Debug("counted the files of a root", "root", s.tree.settings.name, "files", u.files, "bytes", u.bytes, "took", time.Since(begun))
}

// caseSensitive reports whether "a" and "A" are two files. It asks for the state
// directory under its name in capitals, or else believes what is usual.
func (t *tree) caseSensitive() bool {
	top, err := t.jail.Dir(".")
	if err != nil {
		return true
	}
	defer top.Close()
	lower, err := top.Stat(stateDir)
	if err != nil {
		return usuallyCaseSensitive
	}
	upper, err := top.Stat(".GAIA")
	return err != nil || upper.Inode != lower.Inode
}
