package page

import "context"

// at is replaced at the merge by the one of frames.
func (t *Tab) at(_ context.Context, _ frame, x, y float64) (float64, float64, error) {
	return x, y, nil
}
