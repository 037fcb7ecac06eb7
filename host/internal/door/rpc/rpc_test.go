package rpc

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/door/rpc/testdata/suites/conformancev1"
)

const (
	conformanceService = "/connectrpc.conformance.v1.ConformanceService/"
	testService        = "/grpc.testing.TestService/"
)

// answer is what came of a request.
type answer struct {
	code   int
	body   string
	header http.Header
}

// ask sends a body as JSON, or none by GET; each header is "Key: value".
func (h *house) ask(t *testing.T, method, path string, body io.Reader, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+h.http+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, each := range header {
		key, value, _ := strings.Cut(each, ": ")
		r.Header.Set(key, value)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	w, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	content, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{w.StatusCode, string(content), w.Header}
}

// post is ask for a call in JSON.
func (h *house) post(t *testing.T, path, body string, header ...string) answer {
	t.Helper()
	return h.ask(t, http.MethodPost, path, strings.NewReader(body), header...)
}

// dial connects by gRPC, with the token.
func (h *house) dial(tb testing.TB, address string) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer{}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(128<<20), grpc.MaxCallSendMsgSize(128<<20)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestFaultsOfJSONNameTheRemedy(t *testing.T) {
	h := startHouse(t)
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"UnaryCall", `{"respnse_size":1}`, 400, `{"code":"invalid_argument","message":"suites: JSON: (line 1:2): unknown field \"respnse_size\"; did you mean \"responseSize\"?"}`},
		{"UnaryCall", `{"responseSize":"x"}`, 400, `{"code":"invalid_argument","message":"suites: JSON: (line 1:17): invalid value for int32 field responseSize: \"x\""}`},
		{"UnaryCall", `{`, 400, `{"code":"invalid_argument","message":"suites: JSON: unexpected EOF"}`},
		{"UnaryCall", ``, 400, `{"code":"invalid_argument","message":"suites: JSON: syntax error (line 1:1): unexpected token "}`},
		{"UnaryCal", `{}`, 404, `{"code":"unimplemented","message":"service \"grpc.testing.TestService\" has no method \"UnaryCal\"; did you mean \"UnaryCall\"?"}`},
		{"EmptyCall", `{}`, 200, `{}`},
		{"UnaryCall", `{"responseSize":3,"fillUsername":true}`, 200, `{"payload":{"body":"AAAA"}}`},
		{"UnaryCall", `{"response_status":{"code":99,"message":"ninety-nine"}}`, 500, `{"code":"code_99","message":"ninety-nine"}`},
	} {
		got := h.post(t, testService+c.path, c.body)
		if got.code != c.code || got.body != c.want {
			t.Errorf("%s %s: got %d %s\nwant %d %s", c.path, c.body, got.code, got.body, c.code, c.want)
		}
	}
	got := h.ask(t, http.MethodGet, "/grpc.testing.TestServic/EmptyCall", nil)
	if got.code != http.StatusNotFound || !strings.Contains(got.body, `did you mean`) {
		t.Errorf("GET of an unknown service: got %d %s", got.code, got.body)
	}
}

func TestDetailsAreShownByThePluginsTypes(t *testing.T) {
	h := startHouse(t)
	const header = `{"@type":"type.googleapis.com/connectrpc.conformance.v1.Header","name":"n","value":["v"]}`
	got := h.post(t, conformanceService+"Unary", `{"responseDefinition":{"error":{"code":"CODE_ABORTED","message":"no","details":[`+header+`]}}}`)
	var e struct {
		Code    string
		Message string
		Details []struct {
			Type, Value string
			Debug       json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	if got.code != http.StatusConflict || e.Code != "aborted" || e.Message != "no" || len(e.Details) != 2 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	d := e.Details[0]
	value, err := base64.RawStdEncoding.DecodeString(d.Value)
	if err != nil {
		t.Fatal(err)
	}
	var debug bytes.Buffer
	if err := json.Compact(&debug, d.Debug); err != nil {
		t.Fatal(err)
	}
	if d.Type != "connectrpc.conformance.v1.Header" || string(value) != "\n\x01n\x12\x01v" || debug.String() != `{"name":"n","value":["v"]}` {
		t.Errorf("got %s", got.body)
	}
}

func TestWhatBelongsToHTTPDoesNotCross(t *testing.T) {
	h := startHouse(t)
	got := h.post(t, conformanceService+"Unary", `{"responseDefinition":{"responseHeaders":[
		{"name":"content-length","value":["1"]}, {"name":"set-cookie","value":["a=b"]}, {"name":"connection","value":["close"]},
		{"name":"access-control-allow-origin","value":["*"]}, {"name":"connect-x","value":["1"]}, {"name":"trailer-x","value":["1"]},
		{"name":"x-own","value":["1","2"]}, {"name":"x-own-bin","value":["AAE"]}],
		"responseTrailers":[{"name":"x-last","value":["3"]}]}}`,
		"Cookie: c=d", "Origin: http://"+h.http, "X-Mine: m", "X-Mine-Bin: AAE, AAI=")
	if got.code != http.StatusOK {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	for key, want := range map[string][]string{
		"X-Own": {"1", "2"}, "X-Own-Bin": {base64.RawStdEncoding.EncodeToString([]byte("AAE"))}, "Trailer-X-Last": {"3"},
		"Set-Cookie": nil, "Connection": nil, "Access-Control-Allow-Origin": nil, "Connect-X": nil, "Trailer-X": nil,
	} {
		if diff := cmp.Diff(want, got.header.Values(key)); diff != "" {
			t.Errorf("header %s (-want +got):\n%s", key, diff)
		}
	}
	var came struct {
		Payload struct {
			RequestInfo struct {
				RequestHeaders []struct {
					Name  string
					Value []string
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(got.body), &came); err != nil {
		t.Fatal(err)
	}
	headers := map[string][]string{}
	for _, each := range came.Payload.RequestInfo.RequestHeaders {
		headers[each.Name] = each.Value
	}
	if diff := cmp.Diff([]string{"m"}, headers["x-mine"]); diff != "" {
		t.Error(diff)
	}
	for _, key := range []string{"cookie", "origin", "authorization", "accept-encoding", "content-length"} {
		if value, ok := headers[key]; ok {
			t.Errorf("the plugin was told %s: %q", key, value)
		}
	}
	if got := h.post(t, testService+"EmptyCall", "{}", "X-Mine-Bin: ???"); got.code != http.StatusBadRequest || !strings.Contains(got.body, "header x-mine-bin: the value is not base64") {
		t.Errorf("a broken binary header: got %d %s", got.code, got.body)
	}
	for _, header := range []string{"X-Mine: \u00e9", "X-M!ne: m"} {
		if got := h.post(t, testService+"EmptyCall", "{}", header); got.code != http.StatusBadRequest || !strings.Contains(got.body, "cannot be metadata") {
			t.Errorf("%s: got %d %s", header, got.code, got.body)
		}
	}
}

// TestWhatUnfoldsToTooMuchIsNotUnfolded sends 13 MiB that are 13 GiB: to the
// last byte they would be unfolded for half a minute.
func TestWhatUnfoldsToTooMuchIsNotUnfolded(t *testing.T) {
	h := startHouse(t)
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(w, zeros{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	many := strings.Repeat(bomb.String(), 200) // which gzip takes for one
	for _, kind := range []string{"application/json", "application/proto"} {
		got := h.post(t, testService+"EmptyCall", many, "Content-Encoding: gzip", "Content-Type: "+kind)
		if got.code != http.StatusTooManyRequests || !strings.Contains(got.body, "larger than configured max 67108864 - unable to determine message size") {
			t.Errorf("as %s: got %d %s", kind, got.code, got.body)
		}
	}
}

// zeros is without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestGETIsForMethodsWithoutSideEffects(t *testing.T) {
	h := startHouse(t)
	if got := h.ask(t, http.MethodGet, conformanceService+"IdempotentUnary?encoding=json&message=%7B%7D", nil); got.code != http.StatusOK {
		t.Errorf("got %d %s", got.code, got.body)
	}
	if got := h.ask(t, http.MethodGet, conformanceService+"Unary?encoding=json&message=%7B%7D", nil); got.code != http.StatusMethodNotAllowed {
		t.Errorf("got %d %s", got.code, got.body)
	}
}

func TestTheSubsystemIsNamedByAHeader(t *testing.T) {
	h := startHouse(t)
	d, _ := h.registry.Description("suites")
	route, err := h.registry.Route(testService+"EmptyCall", "suites")
	if err != nil {
		t.Fatal(err)
	}
	h.registry.Set("twin", d, route.Value)
	for _, c := range []struct {
		header, want string
		code         int
	}{
		{"X: y", `\"suites\", \"twin\"`, 400},
		{"Gaia-Subsystem: twin", "{}", 200},
		{"Gaia-Subsystem: twon", `did you mean \"twin\"?`, 404},
	} {
		if got := h.post(t, testService+"EmptyCall", "{}", c.header); got.code != c.code || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: got %d %s", c.header, got.code, got.body)
		}
	}
}

func TestHandlersGoWithTheDescriptionsTheyWereMadeFrom(t *testing.T) {
	h := startHouse(t)
	s := New(Config{Registry: h.registry}).(*server)
	d, _ := h.registry.Description("suites")
	route, err := h.registry.Route(testService+"EmptyCall", "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.handler(route.Method.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.handler(route.Method.Name, "suites")
	if err != nil || again != first {
		t.Errorf("a second call: got another handler, %v", err)
	}
	for range 100 {
		h.registry.Set("suites", d, route.Value)
		next, err := s.handler(route.Method.Name, "")
		if err != nil || next == first {
			t.Fatalf("after a change: got the handler of before, %v", err)
		}
		kept := 0
		s.table.Load().handlers.Range(func(any, any) bool { kept++; return true })
		if kept != 1 {
			t.Fatalf("%d handlers are kept, of one method", kept)
		}
	}
}

func TestReflectionAndHealthAnswerForAll(t *testing.T) {
	h := startHouse(t)
	conn := h.dial(t, h.http)
	want := []string{
		"connectrpc.conformance.v1.ConformanceService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
		"grpc.reflection.v1alpha.ServerReflection", "grpc.testing.TestService",
	}
	v1, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	r, err := v1.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, each := range r.GetListServicesResponse().GetService() {
		got = append(got, each.GetName())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// The messages of the older version are the same.
	alpha, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
	if err != nil {
		t.Fatal(err)
	}
	symbol := &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "connectrpc.conformance.v1.UnaryRequest"}
	if err := alpha.SendMsg(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: symbol}); err != nil {
		t.Fatal(err)
	}
	found := new(grpc_reflection_v1.ServerReflectionResponse)
	if err := alpha.RecvMsg(found); err != nil || len(found.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("got %v, %v", found, err)
	}
	health := grpc_health_v1.NewHealthClient(conn)
	for service, want := range map[string]codes.Code{"": codes.OK, "grpc.testing.TestService": codes.OK, "x.Y": codes.NotFound} {
		if r, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service}); status.Code(err) != want || err == nil && r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: got %v, %v", service, r, err)
		}
	}
}

func TestMetadataAndErrorsAreTheSameByBothDoors(t *testing.T) {
	h := startHouse(t)
	type outcome struct {
		Code            codes.Code
		Message         string
		Details         int
		Header, Trailer map[string][]string // metadata.MD does not show itself
	}
	var outcomes []outcome
	for _, address := range []string{"unix:" + h.socket, h.http} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-bin", "\x00\x01")
		var header, trailer metadata.MD
		request := &conformancev1.UnaryRequest{ResponseDefinition: &conformancev1.UnaryResponseDefinition{
			ResponseHeaders:  []*conformancev1.Header{{Name: "h-bin", Value: []string{"\x00\x01", "\u00fe"}}, {Name: "h", Value: []string{"1", "2"}}},
			ResponseTrailers: []*conformancev1.Header{{Name: "t-bin", Value: []string{"\u00ff"}}, {Name: "t", Value: []string{"3"}}},
			Response:         &conformancev1.UnaryResponseDefinition_Error{Error: &conformancev1.Error{Code: 77, Message: new("seventy-seven \u2013 %0a\n")}},
		}}
		_, err := conformancev1.NewConformanceServiceClient(h.dial(t, address)).Unary(ctx, request, grpc.Header(&header), grpc.Trailer(&trailer))
		st := status.Convert(err)
		for _, md := range []metadata.MD{header, trailer} {
			maps.DeleteFunc(md, func(key string, _ []string) bool { return !slices.Contains([]string{"h", "h-bin", "t", "t-bin"}, key) })
		}
		outcomes = append(outcomes, outcome{st.Code(), st.Message(), len(st.Proto().GetDetails()), header, trailer})
	}
	want := outcome{
		77, "seventy-seven \u2013 %0a\n", 1,
		map[string][]string{"h": {"1", "2"}, "h-bin": {"\x00\x01", "\u00fe"}}, map[string][]string{"t": {"3"}, "t-bin": {"\u00ff"}},
	}
	if diff := cmp.Diff([]outcome{want, want}, outcomes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
