package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"offpath/mitigate"
)

// defaultLimit and maxLimit bound how many findings one answer holds.
const (
	defaultLimit = 100
	maxLimit     = historySize
)

type endpoints struct{ node Node }

// operator names who gives an order; over the API it can't be known closer.
const operator = "operator"

// readiness is whether everything works.
type readiness struct {
	Status   string     `json:"status"`
	Reasons  []string   `json:"reasons,omitempty"`
	Restored *time.Time `json:"restored,omitempty"`
}

func (a endpoints) health(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (a endpoints) ready(w http.ResponseWriter, _ *http.Request) {
	status, answer := http.StatusOK, readiness{Status: "ready", Reasons: a.node.Ready()}
	if len(answer.Reasons) > 0 {
		status, answer.Status = http.StatusServiceUnavailable, "not ready"
	}
	if at := a.node.Restored(); !at.IsZero() {
		answer.Restored = &at
	}
	reply(w, status, answer)
}

func (a endpoints) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Write(openAPI) // an error means that the client has gone
}

func (a endpoints) findings(w http.ResponseWriter, r *http.Request) {
	limit := defaultLimit
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			fail(w, http.StatusBadRequest, "limit "+strconv.Quote(text)+" is not a number from 1 to "+strconv.Itoa(maxLimit))
			return
		}
		limit = n
	}
	reply(w, http.StatusOK, map[string][]json.RawMessage{"findings": a.node.Findings(limit)})
}

func (a endpoints) explain(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if _, err := mitigate.ParseID(id); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	e, err := a.node.Explain(id)
	if err != nil {
		a.refuse(w, err)
		return
	}
	reply(w, http.StatusOK, e)
}

func (a endpoints) siteMap(w http.ResponseWriter, r *http.Request) {
	format := cmp.Or(r.URL.Query().Get("format"), "json")
	if format != "json" && format != "yaml" {
		fail(w, http.StatusBadRequest, "format "+strconv.Quote(format)+" is neither json nor yaml")
		return
	}
	text, err := a.node.SiteMap(format)
	if err != nil {
		a.refuse(w, err)
		return
	}
	send(w, http.StatusOK, "application/"+format, text)
}

func (a endpoints) comparison(w http.ResponseWriter, _ *http.Request) {
	text, err := a.node.Comparison()
	if err != nil {
		a.refuse(w, err)
		return
	}
	send(w, http.StatusOK, "application/json", text)
}

func (a endpoints) verdicts(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string][]Verdict{"verdicts": filled(a.node.Verdicts())})
}

func (a endpoints) targets(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string][]Target{"targets": filled(a.node.Targets())})
}

func (a endpoints) audit(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string][]AuditEntry{"audit": filled(a.node.Audit())})
}

// filled makes an empty list of nil, so that clients always see a list.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a endpoints) decide(w http.ResponseWriter, r *http.Request) {
	var order Order
	if err := decode(w, r, &order); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	verdict, err := a.node.Decide(order, operator)
	if err != nil {
		a.refuse(w, err)
		return
	}
	reply(w, http.StatusCreated, verdict)
}

func (a endpoints) lift(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := a.node.Lift(id, operator); err != nil {
		a.refuse(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "lifted", "id": id})
}

func (a endpoints) approvals(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string][]Approval{"approvals": filled(a.node.Approvals())})
}

func (a endpoints) approve(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := a.node.Approve(id, operator); err != nil {
		a.refuse(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "approved", "id": id})
}

func (a endpoints) off(w http.ResponseWriter, _ *http.Request) {
	if err := a.node.Off(operator); err != nil {
		a.refuse(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "off"})
}

func (a endpoints) on(w http.ResponseWriter, _ *http.Request) {
	if err := a.node.On(operator); err != nil {
		a.refuse(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "on"})
}

// refuse answers with the status that an error of the node stands for.
func (a endpoints) refuse(w http.ResponseWriter, err error) {
	var order *OrderError
	status := http.StatusBadGateway // a load balancer did not do what it was told
	switch {
	case errors.As(err, &order):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, ErrUnknownVerdict), errors.Is(err, ErrNotWaiting), errors.Is(err, ErrUnknownID):
		status = http.StatusNotFound
	case errors.Is(err, ErrNoMitigation), errors.Is(err, ErrNoSiteMap), errors.Is(err, ErrNoSpecification):
		status = http.StatusConflict
	case errors.Is(err, ErrBusy):
		status = http.StatusServiceUnavailable
	}
	fail(w, status, err.Error())
}
