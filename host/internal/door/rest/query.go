package rest

import (
	"net/url"
	"strings"
)

// query is what the query of a request says.
type query struct {
	arguments []string // field=value, in their order
	body      string   // which field a raw body is; "" for the one there is
	field     string   // which field a raw answer is; "" for the one there is
}

// parseQuery reads a query. The names under which body and field are to be
// found are "" where there is no raw body to speak of: then they are fields
// like any other.
func parseQuery(raw, body, field string) (query, error) {
	var q query
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		key, value, hasValue := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(key)
		if err != nil {
			return query{}, err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return query{}, err
		}
		switch {
		case key != "" && key == body:
			q.body = value
		case key != "" && key == field:
			q.field = value
		case hasValue:
			q.arguments = append(q.arguments, key+"="+value)
		default:
			q.arguments = append(q.arguments, key)
		}
	}
	return q, nil
}
