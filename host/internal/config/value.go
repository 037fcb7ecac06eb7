package config

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maxExponent is the power of two beyond which no number fits a field.
const maxExponent = 1100

// value is an evaluated expression on its way into a field. Its methods read
// it as one kind of thing each; the diagnostic says what to write instead.
type value struct {
	name   string // of the argument, for sentences
	val    cty.Value
	expr   hclsyntax.Expression
	secret bool // never quoted in a diagnostic
}

// fault returns a fault of v. The hint is what was probably meant; it is left
// out where it could quote a secret: a value that is one, or that comes from
// the environment or a file.
func (v value) fault(summary, detail, hint string) *hcl.Diagnostic {
	if hint != "" && !v.secret && isLiteral(v.expr) {
		detail += didYouMean(hint)
	}
	return fault(v.expr.Range(), summary, detail)
}

// isNull reports whether v is null, which is as good as not written.
func (v value) isNull() bool { return v.val.IsNull() }

// raw returns a text or number as it would be written, "" for anything else.
func (v value) raw() string {
	switch {
	case v.val.IsNull() || !v.val.IsKnown():
		return ""
	case v.val.Type() == cty.String:
		return v.val.AsString()
	case v.val.Type() == cty.Number:
		n := v.val.AsBigFloat()
		if exp := n.MantExp(nil); exp > maxExponent || exp < -maxExponent {
			return n.Text('g', -1) // written out, 1e999999999 would fill the memory
		}
		return n.Text('f', -1)
	case v.val.Type() == cty.Bool && v.val.True():
		return "true"
	case v.val.Type() == cty.Bool:
		return "false"
	}
	return ""
}

// text reads v as a string.
func (v value) text() (string, *hcl.Diagnostic) {
	if v.val.IsNull() || v.val.Type() != cty.String {
		return "", v.fault("Text expected", fmt.Sprintf("%s is text, written in quotes.", v.name), v.raw())
	}
	return v.val.AsString(), nil
}

// boolean reads v as true or false, also from the text of env().
func (v value) boolean() (bool, *hcl.Diagnostic) {
	switch v.raw() {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, v.fault("True or false expected", fmt.Sprintf("%s is true or false, written without quotes.", v.name), "")
}

// number reads v as a number, also from the text of env().
func (v value) number() (*big.Float, *hcl.Diagnostic) {
	switch {
	case v.val.IsNull():
	case v.val.Type() == cty.Number && v.val.AsBigFloat().IsInf():
		return nil, v.fault("Number out of range", fmt.Sprintf("%s is a number; this one is too large to be held.", v.name), "")
	case v.val.Type() == cty.Number:
		return v.val.AsBigFloat(), nil
	case v.val.Type() == cty.String:
		if n, err := cty.ParseNumberVal(v.val.AsString()); err == nil && !n.AsBigFloat().IsInf() {
			return n.AsBigFloat(), nil
		}
	}
	return nil, v.fault("Number expected", fmt.Sprintf("%s is a number, written without quotes.", v.name), "")
}

// integer reads v as a whole number from low to high, exactly.
func (v value) integer(low, high *big.Int) (*big.Int, *hcl.Diagnostic) {
	n, diag := v.number()
	if diag != nil {
		return nil, diag
	}
	if !n.IsInt() {
		return nil, v.fault("Whole number expected", fmt.Sprintf("%s is a whole number.", v.name), "")
	}
	if n.Cmp(new(big.Float).SetInt(low)) < 0 || n.Cmp(new(big.Float).SetInt(high)) > 0 {
		return nil, v.fault("Number out of range", fmt.Sprintf("%s is a whole number from %v to %v.", v.name, low, high), "")
	}
	whole, _ := n.Int(nil)
	return whole, nil
}

// duration reads v as a time span.
func (v value) duration() (time.Duration, *hcl.Diagnostic) {
	return quantity(v, "a duration", durationForm, ParseDuration)
}

// bytes reads v as a size.
func (v value) bytes() (Bytes, *hcl.Diagnostic) {
	return quantity(v, "a size", sizeForm, ParseBytes)
}

// rate reads v as events per period.
func (v value) rate() (Rate, *hcl.Diagnostic) {
	return quantity(v, "a rate", rateForm, ParseRate)
}

// percent reads v as a percentage.
func (v value) percent() (Percent, *hcl.Diagnostic) {
	return quantity(v, "a percentage", percentForm, ParsePercent)
}

// quantity reads v with the parser of a unit. A bare number is given to it as
// well, so that it can say which unit is missing.
func quantity[T any](v value, what, form string, parse func(string) (T, error)) (T, *hcl.Diagnostic) {
	var none T
	if v.val.IsNull() || v.val.Type() != cty.String && v.val.Type() != cty.Number {
		return none, v.fault("Text expected", fmt.Sprintf("%s is %s, written in quotes. %s", v.name, what, form), "")
	}
	got, err := parse(v.raw())
	if unit, ok := errors.AsType[*unitError](err); ok {
		return none, v.fault(unit.summary, unit.allowed, unit.hint)
	}
	return got, nil
}

// elements returns the items of a list with their own ranges where the list is
// written out.
func (v value) elements() ([]value, *hcl.Diagnostic) {
	if v.val.IsNull() || !v.val.Type().IsTupleType() && !v.val.Type().IsListType() && !v.val.Type().IsSetType() {
		return nil, v.fault("List expected", fmt.Sprintf("%s is a list, written in brackets: %s = [ … ].", v.name, v.name), "")
	}
	tuple, _ := v.expr.(*hclsyntax.TupleConsExpr)
	var items []value
	for _, val := range v.val.AsValueSlice() {
		item := value{name: fmt.Sprintf("%s[%d]", v.name, len(items)), val: val, expr: v.expr, secret: v.secret}
		if tuple != nil && len(items) < len(tuple.Exprs) {
			item.expr = tuple.Exprs[len(items)]
		}
		items = append(items, item)
	}
	return items, nil
}

// pair is one item of an object.
type pair struct {
	value

	key string
	at  hcl.Range // of the key where the object is written out
}

// entries returns the items of an object in the order of their keys. Those
// that are null are left out.
func (v value) entries() ([]pair, *hcl.Diagnostic) {
	if v.val.IsNull() || !v.val.Type().IsObjectType() && !v.val.Type().IsMapType() {
		return nil, v.fault("Object expected", fmt.Sprintf("%s is an object, written in braces: %s = { key = value }.", v.name, v.name), "")
	}
	values := v.val.AsValueMap()
	var pairs []pair
	for _, key := range slices.Sorted(maps.Keys(values)) {
		item := value{name: fmt.Sprintf("%s[%q]", v.name, key), val: values[key], expr: v.expr, secret: v.secret}
		p := pair{value: item, key: key, at: v.expr.Range()}
		if object, ok := v.expr.(*hclsyntax.ObjectConsExpr); ok {
			if item := findItem(object, key); item != nil {
				p.expr, p.at = item.ValueExpr, item.KeyExpr.Range()
			}
		}
		if !p.isNull() {
			pairs = append(pairs, p)
		}
	}
	return pairs, nil
}

// findItem returns the item that is written with key; nil when the key is
// computed.
func findItem(object *hclsyntax.ObjectConsExpr, key string) *hclsyntax.ObjectConsItem {
	for i, item := range object.Items {
		if k, diags := item.KeyExpr.Value(nil); !diags.HasErrors() && (value{val: k}).raw() == key {
			return &object.Items[i]
		}
	}
	return nil
}
