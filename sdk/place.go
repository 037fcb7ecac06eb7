package sdk

import (
	"context"
	"fmt"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// placesKey is of the places in the context of Configure.
type placesKey struct{}

// withPlaces hands places to an author's Configure.
func withPlaces(ctx context.Context, places []*pluginv1.Place) context.Context {
	at := make(map[string]string, len(places))
	for _, p := range places {
		at[p.GetPath()] = fmt.Sprintf("%s:%d", p.GetFile(), p.GetLine())
	}
	return context.WithValue(ctx, placesKey{}, at)
}

// Place returns where a block of the config is written, such as "config.hcl:42",
// for texts that name a rule which was applied. ctx is that of Configure or
// Reconfigure, path as in FieldError: `rule[2]`. It is "" where the host does
// not say.
func Place(ctx context.Context, path string) string {
	at, _ := ctx.Value(placesKey{}).(map[string]string)
	return at[path]
}
