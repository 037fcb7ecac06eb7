package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// maxFile bounds a config file, and what file() reads.
const maxFile = 1 << 20

// callError is why env() or file() has no value. It holds no value of either.
type callError struct{ summary, detail string }

func (e *callError) Error() string { return e.detail }

// evalContext returns the functions of config.hcl. There are no variables.
func evalContext(src *source) *hcl.EvalContext {
	return &hcl.EvalContext{Functions: map[string]function.Function{
		"env": function.New(&function.Spec{
			Params:   []function.Parameter{{Name: "name", Type: cty.String}},
			VarParam: &function.Parameter{Name: "default", Type: cty.String},
			Type:     function.StaticReturnType(cty.String),
			Impl:     func(args []cty.Value, _ cty.Type) (cty.Value, error) { return readEnv(args) },
		}),
		"file": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				return readFile(src.resolve(args[0].AsString()))
			},
		}),
	}}
}

func readEnv(args []cty.Value) (cty.Value, error) {
	name := args[0].AsString()
	if len(args) > 2 {
		return cty.NilVal, &callError{"Too many function arguments", `env takes a name and at most one default: env("NAME", "default").`}
	}
	if value, ok := os.LookupEnv(name); ok {
		if !utf8.ValidString(value) {
			return cty.NilVal, &callError{"Environment variable is not text", fmt.Sprintf("The value of %q is not UTF-8, which is all that env() reads.", name)}
		}
		return cty.StringVal(value), nil
	}
	if len(args) == 2 {
		return args[1], nil
	}
	return cty.NilVal, &callError{"Environment variable not set",
		fmt.Sprintf("There is no %q in the environment of the host. Set it, or give a default: env(%q, \"default\").", name, name)}
}

func readFile(path string) (cty.Value, error) {
	text, err := readBounded(path)
	switch {
	case errors.Is(err, errTooLarge):
		return cty.NilVal, &callError{"File too large", fmt.Sprintf("%s is larger than %v, the most that file() reads.", path, Bytes(maxFile))}
	case err != nil:
		return cty.NilVal, &callError{"File not readable",
			fmt.Sprintf("file() cannot read %s: %s. The path is relative to the folder of the config file.", path, reason(err))}
	case !utf8.Valid(text):
		return cty.NilVal, &callError{"File is not text", fmt.Sprintf("%s is not UTF-8, which is all that file() reads.", path)}
	}
	line := strings.TrimSuffix(string(text), "\n")
	return cty.StringVal(strings.TrimSuffix(line, "\r")), nil
}

var errTooLarge = errors.New("file too large")

// readBounded reads a file of at most maxFile bytes; a larger one is
// errTooLarge.
func readBounded(path string) ([]byte, error) {
	// A pipe or a device could block or never end.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errTooLarge
	}
	return text, err
}

// reason returns why a file operation failed, without its path.
func reason(err error) string {
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}

// evaluator gives expressions their values.
type evaluator struct {
	src *source
	ctx *hcl.EvalContext
}

func newEvaluator(src *source) evaluator { return evaluator{src, evalContext(src)} }

// evaluate returns the value of an argument.
func (e evaluator) evaluate(name string, expr hclsyntax.Expression, secret bool) (value, hcl.Diagnostics) {
	if diags := e.variables(expr, secret); diags != nil {
		return value{}, diags
	}
	val, diags := expr.Value(e.ctx)
	for i, d := range diags {
		diags[i] = rewritten(d, expr.Range())
	}
	if !diags.HasErrors() && !val.IsWhollyKnown() {
		diags = append(diags, fault(expr.Range(), "Invalid expression", "There is no value here that can be read."))
	}
	return value{name: name, val: val, expr: expr, secret: secret}, diags
}

// variables refuses names without quotes, once per expression.
func (e evaluator) variables(expr hclsyntax.Expression, secret bool) hcl.Diagnostics {
	if len(expr.Variables()) == 0 {
		return nil
	}
	detail := `A config has no variables. Text is written in quotes, and a ${ that is meant literally as $${.`
	if text := e.src.quote(expr.Range()); text != "" && !secret && !strings.ContainsAny(text, `"'`) {
		detail += didYouMean(text)
	}
	return hcl.Diagnostics{fault(expr.Range(), "Variables not allowed", detail)}
}

// rewritten puts a diagnostic of the evaluator into our own words.
func rewritten(d *hcl.Diagnostic, at hcl.Range) *hcl.Diagnostic {
	if d.Subject == nil {
		d.Subject = &at
	}
	if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok {
		if call, ok := errors.AsType[*callError](extra.FunctionCallError()); ok {
			d.Summary, d.Detail = call.summary, call.detail
			if d.Context != nil {
				d.Subject = d.Context // the whole call, not only the function's name
			}
		}
	}
	if _, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallUnknownDiagExtra](d); ok {
		d.Summary = "Unknown function"
		d.Detail = strings.TrimSpace(d.Detail) + ` The functions are env("NAME"), env("NAME", "default") and file("path").`
	}
	// What HCL would print of the expression's values.
	d.Expression, d.EvalContext, d.Extra, d.Context = nil, nil, nil, nil
	return d
}

// isLiteral reports whether a value stands in the file as it is.
func isLiteral(expr hclsyntax.Expression) bool {
	switch expr := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.TemplateExpr:
		return expr.IsStringLiteral()
	case *hclsyntax.UnaryOpExpr:
		return isLiteral(expr.Val)
	}
	return false
}

// isReference reports whether expr only names where a value is, as env("NAME")
// and file("path") do, so that it may be shown even where the value may not.
func isReference(expr hclsyntax.Expression) bool {
	call, ok := expr.(*hclsyntax.FunctionCallExpr)
	return ok && (call.Name == "env" || call.Name == "file") && len(call.Args) == 1 && isLiteral(call.Args[0])
}
