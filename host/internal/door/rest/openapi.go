package rest

import "net/http"

func (h *handler) serveOpenAPI(w http.ResponseWriter, rooms *rooms) {}
