package view

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestMessagesThatTheBrowserMayReadOtherwiseAreNoMessages(t *testing.T) {
	for _, text := range []string{
		``, `1`, `[]`, `{`, `{}`, `{"id":1}`, `{"method":"A.b"}`, `{"id":-1,"method":"A.b"}`, `{"id":1.5,"method":"A.b"}`, `{"id":2147483648,"method":"A.b"}`,
		`{"id":"1","method":"A.b"}`, `{"id":1,"method":2}`, `{"id":1,"method":"A.b"} {}`, "{\"id\":1,\"method\":\"A.b\"}\x00{\"id\":2,\"method\":\"Browser.close\"}",
		`{"id":1,"method":"A.b","method":"Browser.close"}`, `{"id":1,"method":"A.b","sessionId":"X","session\u0049d":"Y"}`, `{"id":1,"method":"A.b","sessionId":""}`,
		"{\"id\":1,\"method\":\"A.b\",\"params\":{\"x\":\"\x00\"}}", `{"id":1,"id":1,"method":"A.b"}`, `{"id":1,"method":"A.b","params":{},"params":{}}`,
		"{\"id\":1,\"method\":\"A.b\",\"params\":{\"x\":\"\xff\"}}", `{"id":1,"method":"A.b","sessionId":"X","sessionId\ud83d":"Y","session\u0049d":"Z"}`,
	} {
		if c, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: got %+v", text, c)
		}
	}
}

func TestAnyTextOfJavaScriptIsAMessage(t *testing.T) {
	for _, text := range []string{`{"id":1,"method":"A.b","params":{"x":"\ud83d"}}`, `{"id":1,"method":"A.b","params":{"x":"\ude00\ud83d\u0000"}}`} {
		if c, err := parse([]byte(text)); err != nil || c.method != "A.b" {
			t.Errorf("%s: got %+v, %v", text, c, err)
		}
	}
}

func FuzzACommandIsReadAsTheBrowserReadsIt(f *testing.F) {
	for _, text := range []string{
		`{"id":1,"method":"Page.navigate","params":{"url":"http://a/"},"sessionId":"0123456789ABCDEF0123456789ABCDEF"}`,
		`{"params":{},"sess\u0069onId":"A","\u006dethod":"Browser.close","id":0}`, ` {"id":7,"method":"A\"b","x":[{"id":2}]}`, "{\"id\":1,\"method\":\"\x00\"}",
		`{"id":1,"method":"A\ud83d","session\ud83dId":"B","params":"\ud83d"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		for _, message := range [][]byte{c.refusal(errNoOne), c.result(1)} {
			if !json.Valid(message) {
				t.Fatalf("answer: %s", message)
			}
		}
		if err != nil {
			return
		}
		for _, sent := range [][]byte{c.in("S", nil), c.in("S", []byte(`{}`))} {
			if bytes.ContainsRune(sent, 0) {
				t.Fatalf("sent %q: the pipe's end of a message is in it", sent)
			}
			var members map[string]json.RawMessage
			if err := json.Unmarshal(sent, &members); err != nil {
				t.Fatalf("sent %q: %v", sent, err)
			}
			var method, session string
			if err := json.Unmarshal(members["method"], &method); err != nil || method != c.method {
				t.Errorf("method of %q: got %q, want %q", sent, method, c.method)
			}
			if err := json.Unmarshal(members["sessionId"], &session); err != nil || session != "S" && session != string(c.session) {
				t.Errorf("session of %q: got %q", sent, session)
			}
		}
	})
}

func BenchmarkACommandOfAPageIsParsed(b *testing.B) {
	text := []byte(`{"id":17,"method":"Runtime.callFunctionOn","params":{"functionDeclaration":"` + string(bytes.Repeat([]byte("x"), 500)) +
		`","executionContextId":3,"arguments":[{"value":"a"}],"returnByValue":true},"sessionId":"0123456789ABCDEF0123456789ABCDEF"}`)
	b.ReportAllocs()
	for b.Loop() {
		c, err := parse(text)
		if err != nil || !isPlain(c.method) {
			b.Fatal(err)
		}
		_ = c.in("", nil)
	}
}
