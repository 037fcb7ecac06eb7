package view

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/go-json-experiment/json/jsontext"
)

// Some numbers the browser takes as they come, and crashes, with the pages of all
// its clients: in its main process, where input, windows and quotas are.
const (
	// maxQuota is the largest storage that a client may give an origin, in bytes:
	// what is stored in a context that is not to last takes memory of the browser.
	maxQuota = 1 << 30

	// maxSize is that of a window, in pixels.
	maxSize = 1 << 14

	// maxInput is for all that has to do with input. The largest that means
	// something is a time in seconds, 1.8e9.
	maxInput = 1e10
)

// judgeInput is judge for the commands of the domain Input.
func (m members) judgeInput(c *command) (jsonv2.Value, error) {
	if err := checkNumbers(c.params, maxInput); err != nil {
		return nil, err
	}
	switch c.method {
	case "Input.dispatchDragEvent":
		return nil, m.checkDrag()
	case "Input.dispatchKeyEvent":
		return m.apart()
	case "Input.imeSetComposition":
		return nil, m.checkPositive(maxInput, "replacementStart", "replacementEnd")
	}
	return nil, nil
}

// checkSize looks at the place and size of a window.
func (m members) checkSize() error {
	for _, name := range []string{"bounds", "left", "top", "width", "height"} {
		if err := checkNumbers(m[name], maxSize); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// checkPositive looks at members that are numbers from 0 to most, if they are
// there.
func (m members) checkPositive(most float64, names ...string) error {
	for _, name := range names {
		value, ok := m[name]
		if !ok {
			continue
		}
		var n float64
		if err := jsonv2.Unmarshal(value, &n); err != nil || n < 0 || n > most {
			return fmt.Errorf("%s is no number from 0 to %.0f", name, most)
		}
	}
	return nil
}

// checkNumbers looks at all numbers in a value, which may be nil.
func checkNumbers(value jsonv2.Value, most float64) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(value))
	for {
		token, err := decoder.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case token.Kind() == '0' && math.Abs(token.Float()) > most:
			return fmt.Errorf("%s is more than a browser can take, %.0f at most", token, most)
		}
	}
}

// checkDrag keeps files of this machine from being dropped on a page.
func (m members) checkDrag() error {
	var data struct {
		Files jsonv2.Value `json:"files"`
	}
	if value, ok := m["data"]; ok {
		if err := jsonv2.Unmarshal(value, &data, jsonv2.DefaultOptionsV2()); err != nil {
			return err
		}
	}
	if data.Files != nil && string(data.Files) != "[]" {
		return errors.New("files of the browser's machine cannot be dropped")
	}
	return nil
}
