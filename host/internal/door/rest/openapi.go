package rest

import (
	"fmt"
	"net/http"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/request"
)

// The parts of a JSON document. Keys are written in order, so that the document is
// the same for the same subsystems.
type (
	jsonObject = map[string]any
	jsonList   = []any
)

// documentOf returns what makes the OpenAPI document of a snapshot, once.
func documentOf(r *snapshot, version string) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) { return marshalJSON(openAPI(r, version)) })
}

func (h *handler) serveOpenAPI(w http.ResponseWriter, r *snapshot) {
	document, err := r.document()
	if err != nil {
		writeError(w, fmt.Errorf("internal: OpenAPI document: %w", err), nil)
		return
	}
	writeBody(w, http.StatusOK, "application/json", document)
}

// openAPI describes every method that can be called, by OpenAPI 3.1.
func openAPI(r *snapshot, version string) jsonObject {
	schemas := newSchemas()
	paths, tags := jsonObject{}, jsonList{}
	for _, name := range r.names {
		s := r.byName[name]
		if s == nil {
			continue
		}
		schemas.enter(s)
		tags = append(tags, described(jsonObject{"name": name}, serviceComment(s)))
		for _, m := range s.all {
			if m.check() == nil {
				paths[s.path(m)] = jsonObject{"post": operation(s, m, schemas)}
			}
		}
	}
	paths["/v1"] = jsonObject{"get": page("index", "Lists subsystems and their methods.")}
	paths["/v1/openapi.json"] = jsonObject{"get": page("openapi", "This document.")}
	return jsonObject{
		"openapi": "3.1.0",
		"info": jsonObject{
			"title":   "gaia",
			"version": version,
			"description": "Every method of every subsystem. Messages are JSON as protobuf maps it; 64-bit integers are strings. " +
				"Fields may also be given as parameters of the query, as field=value.",
		},
		"servers":  jsonList{jsonObject{"url": "/"}},
		"security": jsonList{jsonObject{"token": jsonList{}}},
		"tags":     tags,
		"paths":    paths,
		"components": jsonObject{
			"schemas":         schemas.all,
			"parameters":      parameters(),
			"responses":       jsonObject{"Error": errorResponse()},
			"securitySchemes": jsonObject{"token": jsonObject{"type": "http", "scheme": "bearer", "description": "The token in run/token, or one of a client block."}},
		},
	}
}

func serviceComment(s *subsystem) string {
	text := ""
	for i, m := range s.all {
		parent := m.Descriptor.Parent()
		if i > 0 && parent == s.all[i-1].Descriptor.Parent() {
			continue
		}
		if comment := registry.Comment(parent); comment != "" {
			text = join(text, comment)
		}
	}
	return text
}

// join puts a paragraph behind others.
func join(text, more string) string {
	if text == "" || more == "" {
		return text + more
	}
	return text + "\n\n" + more
}

// described adds a description, if there is one.
func described(o jsonObject, text string) jsonObject {
	if text != "" {
		o["description"] = text
	}
	return o
}

func page(id, summary string) jsonObject {
	return jsonObject{
		"operationId": id,
		"summary":     summary,
		"responses": jsonObject{
			"200":     jsonObject{"description": "OK.", "content": jsonObject{contentJSON: jsonObject{"schema": jsonObject{"type": "object"}}}},
			"default": ref("responses", "Error"),
		},
	}
}

func ref(kind, name string) jsonObject {
	return jsonObject{"$ref": "#/components/" + kind + "/" + name}
}

// operation is the call of a method.
func operation(s *subsystem, m *method, schemas *schemas) jsonObject {
	in, out := schemas.message(m.Descriptor.Input()), schemas.message(m.Descriptor.Output())
	comment := registry.Comment(m.Descriptor)
	parameters := jsonList{ref("parameters", "timeout"), ref("parameters", "fields")}
	request, response := jsonObject{contentJSON: jsonObject{"schema": in}}, jsonObject{contentJSON: jsonObject{"schema": out}}
	if m.ClientStreams {
		request = jsonObject{contentLines: jsonObject{"schema": in}}
		comment = join(comment, "The request is a stream: one JSON value for each message.")
	}
	if m.ServerStreams {
		response = jsonObject{contentLines: jsonObject{"schema": out}}
		comment = join(comment, "The answer is a stream: one line of JSON for each message. An error in it is the last line, {\"error\": …}.")
	}
	if len(m.rawIn) > 0 {
		request[contentBytes] = jsonObject{"schema": jsonObject{"type": "string", "contentMediaType": contentBytes,
			"description": "The content of one field; all others are parameters."}}
		parameters = append(parameters, chosen(rawInParameter, "Which field a raw body is.", m.rawIn))
	}
	if len(m.rawOut) > 0 {
		response[contentBytes] = jsonObject{"schema": jsonObject{"type": "string", "contentMediaType": contentBytes,
			"description": "The content of one field; others are headers Gaia-<Field-Name>."}}
		parameters = append(parameters, chosen(rawOutParameter, "Which field a raw answer is.", m.rawOut))
	}
	o := jsonObject{
		"operationId":  s.name + "." + m.callName,
		"tags":         jsonList{s.name},
		"parameters":   parameters,
		"requestBody":  jsonObject{"content": request},
		"responses":    jsonObject{"200": jsonObject{"description": "OK.", "content": response}, "default": ref("responses", "Error")},
		"x-gaia-kind":  m.Kind(),
		"x-idempotent": m.Idempotent(nil),
	}
	if summary := registry.Sentence(registry.Comment(m.Descriptor)); summary != "" {
		o["summary"] = summary
	}
	return described(o, comment)
}

// chosen is the parameter that says which bytes field a raw body is.
func chosen(name, text string, fields []request.BytesField) jsonObject {
	values := jsonList{}
	for _, f := range fields {
		values = append(values, f.Path)
	}
	schema := jsonObject{"type": "string", "enum": values}
	if field, ok := request.ChooseBytes(fields, ""); ok {
		schema["default"] = field.Path
	}
	return jsonObject{"name": name, "in": "query", "description": text, "schema": schema}
}

// parameters are those that all methods have.
func parameters() jsonObject {
	return jsonObject{
		"timeout": jsonObject{
			"name": "Gaia-Timeout", "in": "header", "description": "How long to wait for the call, such as 5s or 250ms.",
			"schema": jsonObject{"type": "string", "examples": jsonList{"5s"}},
		},
		"fields": jsonObject{
			"name": "fields", "in": "query", "style": "form", "explode": true,
			"description": "Fields of the request by their paths, such as page.url=https://example.com; a repeated field is given once per element.",
			"schema":      jsonObject{"type": "object", "additionalProperties": jsonObject{"type": "string"}},
		},
	}
}

// errorResponse is google.rpc.Status.
func errorResponse() jsonObject {
	return jsonObject{
		"description": "An error, as google.rpc.Status.",
		"headers": jsonObject{"Retry-After": jsonObject{
			"description": "Seconds after which to call again, where that is known.", "schema": jsonObject{"type": "integer"},
		}},
		"content": jsonObject{contentJSON: jsonObject{"schema": jsonObject{
			"type":     "object",
			"required": jsonList{"code", "message"},
			"properties": jsonObject{
				"code":    jsonObject{"type": "integer", "description": "A code of gRPC, such as 5 for NotFound."},
				"message": jsonObject{"type": "string"},
				"details": jsonObject{"type": "array", "items": jsonObject{
					"type": "object", "required": jsonList{"@type"}, "properties": jsonObject{"@type": jsonObject{"type": "string"}},
				}},
			},
		}}},
	}
}

// reachable calls visit once for md and each message that its fields lead to.
func reachable(md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, visit func(protoreflect.MessageDescriptor)) {
	if seen[md.FullName()] {
		return
	}
	seen[md.FullName()] = true
	visit(md)
	for i := range md.Fields().Len() {
		if sub := md.Fields().Get(i).Message(); sub != nil {
			reachable(sub, seen, visit)
		}
	}
}
