package config

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"
)

// The kernel shares out a core in hundredths; 1024 cores are more than any
// machine has.
const minCores, maxCores = 0.01, 1024

// coresAt is a number of processor cores, with a fraction.
type coresAt struct{ p *float64 }

func (t coresAt) set(v value) *hcl.Diagnostic {
	n, diag := v.number()
	if diag != nil {
		return v.fault(diag.Summary, fmt.Sprintf("%s is a number of cores, such as 1.5.", v.name), coresHint(v.raw()))
	}
	cores, _ := n.Float64()
	if cores < minCores || cores > maxCores {
		return v.fault("Number out of range", fmt.Sprintf("%s is a number of cores from %v to %v.", v.name, minCores, maxCores), "")
	}
	*t.p = cores
	return nil
}

// coresHint guesses at cores that other systems write so; "" for none.
func coresHint(text string) string {
	number, unit := splitNumber(text)
	cores, err := strconv.ParseFloat(number, 64)
	switch unit {
	case "m": // Kubernetes
		cores /= 1000
	case "%": // systemd
		cores /= 100
	case "core", "cores", " core", " cores":
	default:
		return ""
	}
	if err != nil || cores < minCores || cores > maxCores {
		return ""
	}
	return strconv.FormatFloat(cores, 'f', -1, 64)
}

func (t coresAt) form() string { return fmt.Sprintf("number, %v to %v", minCores, maxCores) }

func (t coresAt) current() string {
	if *t.p < minCores {
		return ""
	}
	return strconv.FormatFloat(*t.p, 'f', -1, 64)
}
