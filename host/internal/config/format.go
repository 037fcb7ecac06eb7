package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format returns src in the canonical layout: indents of two spaces, aligned
// equals signs. Comments and the order stay. Diagnostics call the file
// filename. With syntax faults the result is nil and the report has them.
func Format(src []byte, filename string) ([]byte, *Report) {
	file := newSource(filename, src)
	if len(file.faults) > 0 {
		return nil, newReport(file, slices.Concat(file.faults, file.twice))
	}
	return hclwrite.Format(src), newReport(file, file.twice)
}
