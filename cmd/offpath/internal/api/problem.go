package api

import (
	"encoding/json"
	"net/http"
)

// Problem is an error as RFC 9457 describes it.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// fail answers a request with a problem.
func fail(w http.ResponseWriter, status int, detail string) {
	write(w, status, "application/problem+json", Problem{http.StatusText(status), status, detail})
}

// reply answers a request with a value.
func reply(w http.ResponseWriter, status int, value any) {
	write(w, status, "application/json", value)
}

func write(w http.ResponseWriter, status int, mediaType string, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, mediaType = http.StatusInternalServerError, "application/problem+json"
		body, _ = json.Marshal(Problem{http.StatusText(status), status, err.Error()})
	}
	send(w, status, mediaType, append(body, '\n'))
}

// send answers a request with what is written already.
func send(w http.ResponseWriter, status int, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body) // an error means that the client has gone
}
