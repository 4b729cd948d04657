package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/evidence"
	"offpath/cmd/offpath/internal/explain"
	"offpath/cmd/offpath/internal/state"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/jsonl"
	"offpath/mitigate"
	"offpath/mitigate/controller"
)

// node is a process as its API shows it. A sensor has neither stage nor
// controller.
type node struct {
	ready      func() []string
	history    api.History
	evidence   *evidence.Store
	stage      *detection.Stage
	controller *controller.Controller
	settings   *atomic.Pointer[config.Config]
	documents  documents
	state      func() state.Stats        // books of the state; nil: none is kept
	refused    func(after time.Duration) // told of each verdict's first refusal
}

var _ api.Node = (*node)(nil)

// Ready implements api.Node.
func (n *node) Ready() []string { return n.ready() }

// Restored implements api.Node.
func (n *node) Restored() time.Time {
	if n.state == nil {
		return time.Time{}
	}
	return n.state().Restored
}

// Findings implements api.Node.
func (n *node) Findings(limit int) []json.RawMessage { return n.history.Latest(limit) }

// Explain implements api.Node.
func (n *node) Explain(id string) (api.Explanation, error) {
	if n.controller == nil {
		return api.Explanation{}, api.ErrNoMitigation
	}
	found, err := n.evidence.Find(id)
	if err != nil {
		return api.Explanation{}, err
	}
	e := explain.Of(id, found)
	e.Live = true
	if active, ok := n.controller.Verdict(id); ok {
		shown := show(&active)
		if seen, ok := n.enforcements()[id]; ok {
			shown.Enforcement = enforcement(seen)
		}
		e.Active = &shown
		if e.Verdict == nil { // it is older than what is kept
			e.Kind, e.Verdict = "verdict", shown.Verdict
		}
	}
	if e.Kind == "" {
		return api.Explanation{}, fmt.Errorf("%w: %q", api.ErrUnknownID, id)
	}
	done, err := n.controller.AuditOf(id)
	if err != nil {
		return api.Explanation{}, err
	}
	for _, entry := range done {
		e.Audit = append(e.Audit, api.AuditEntry(entry))
	}
	return *e, nil
}

// Verdicts implements api.Node.
func (n *node) Verdicts() []api.Verdict {
	if n.controller == nil {
		return nil
	}
	seen := n.enforcements()
	active := n.controller.Verdicts()
	list := make([]api.Verdict, len(active))
	for i := range active {
		list[i] = show(&active[i])
		if e, ok := seen[active[i].Verdict.ID]; ok {
			list[i].Enforcement = enforcement(e)
		}
	}
	return list
}

func enforcement(e detect.Enforcement) *api.Enforcement {
	return &api.Enforcement{
		State: string(e.State), Refused: e.Refused, Answered: e.Answered,
		FirstRefused: eventTime(e.FirstRefused), LastRefused: eventTime(e.LastRefused), LastAnswered: eventTime(e.LastAnswered),
	}
}

// enforcements asks detection what became of the verdicts on the wire; without
// an answer in time there is none.
func (n *node) enforcements() map[string]detect.Enforcement {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	list, err := detection.Ask(ctx, n.stage, (*engine.Engine).Enforcements)
	if err != nil {
		return nil
	}
	byID := make(map[string]detect.Enforcement, len(list))
	for _, e := range list {
		byID[e.Verdict] = e
	}
	return byID
}

func show(v *controller.Verdict) api.Verdict {
	shown := api.Verdict{
		Verdict: json.RawMessage(jsonl.AppendVerdict(nil, &v.Verdict)),
		Who:     v.Who,
		Since:   v.Since.UTC(),
		Targets: []api.TargetVerdict{},
	}
	for _, t := range v.Targets {
		shown.Targets = append(shown.Targets, api.TargetVerdict{
			Target: t.Target, State: string(t.State), Detail: t.Detail, Refused: t.Refused, Passed: t.Passed,
		})
	}
	return shown
}

func eventTime(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

func wallTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Targets implements api.Node.
func (n *node) Targets() []api.Target {
	if n.controller == nil {
		return nil
	}
	addresses := map[string]string{}
	for _, t := range n.settings.Load().Mitigate.Targets {
		addresses[t.Name] = t.Address
	}
	var list []api.Target
	for _, t := range n.controller.Targets() {
		list = append(list, api.Target{
			Name: t.Name, Type: t.Kind, Address: addresses[t.Name],
			Connected: t.Connected, Error: t.LastError, Since: wallTime(t.Since), Version: t.Identity.Version,
			Mode: string(t.Mode), LocalOff: t.LocalOff,
			InForce: t.InForce, Pending: t.Pending, Unsupported: t.Unsupported, Rejected: t.Rejected,
			LagSeconds: t.Lag.Seconds(), LastSync: wallTime(t.LastSync), Restarts: t.Restarts,
			Consumers: consumers(t.Fetching),
		})
	}
	return list
}

func consumers(f *mitigate.Fetching) (list []api.Consumer) {
	if f == nil {
		return nil
	}
	for _, c := range f.Consumers {
		list = append(list, api.Consumer{Name: c.Name, Last: wallTime(c.Last), Late: c.Late, Behind: c.Behind, Fetches: c.Fetches, Refused: c.Refused})
	}
	return list
}

// Audit implements api.Node.
func (n *node) Audit() []api.AuditEntry {
	if n.controller == nil {
		return nil
	}
	var list []api.AuditEntry
	for _, e := range n.controller.Audit() {
		list = append(list, api.AuditEntry(e))
	}
	return list
}

// Decide implements api.Node.
func (n *node) Decide(order api.Order, who string) (api.Verdict, error) {
	if n.controller == nil {
		return api.Verdict{}, api.ErrNoMitigation
	}
	v, err := verdictOf(order, time.Now())
	if err != nil {
		return api.Verdict{}, &api.OrderError{Text: err.Error()}
	}
	v.Mode = detect.ModeMonitor
	if n.settings.Load().Mitigate.Mode == string(detect.ModeEnforce) {
		v.Mode = detect.ModeEnforce
	}
	// What it would hit is held against the rails, as of detection's own.
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	harm, err := detection.Ask(ctx, n.stage, func(e *engine.Engine) float64 {
		harm, _ := e.Harm(v.Subject)
		return harm
	})
	if err != nil {
		return api.Verdict{}, fmt.Errorf("%w: %w", api.ErrBusy, err)
	}
	v.Expected.LegitimateRequestsPerMillion = harm
	accepted, err := n.controller.Decide(v, who)
	if err != nil {
		text := err.Error()
		if rail := (*controller.RailError)(nil); errors.As(err, &rail) && rail.Waits {
			text = fmt.Sprintf("verdict %s waits for approval: %s; `offpath approve %s` puts it in force", accepted.ID, rail.Reason, accepted.ID)
		}
		return api.Verdict{}, &api.OrderError{Text: text}
	}
	n.stage.Watch(accepted)
	if active, ok := n.controller.Verdict(accepted.ID); ok {
		return show(&active), nil
	}
	return show(&controller.Verdict{Verdict: accepted, Who: who, Since: time.Now()}), nil
}

// Approvals implements api.Node.
func (n *node) Approvals() []api.Approval {
	if n.controller == nil {
		return nil
	}
	var list []api.Approval
	for _, w := range n.controller.Waiting() {
		list = append(list, api.Approval{
			Verdict: jsonl.AppendVerdict(nil, &w.Verdict), Who: w.Who, Since: w.Since.UTC(), Rail: w.Rail, Reason: w.Reason,
		})
	}
	return list
}

// Approve implements api.Node.
func (n *node) Approve(id, who string) error {
	if n.controller == nil {
		return api.ErrNoMitigation
	}
	var approved detect.Verdict
	for _, w := range n.controller.Waiting() {
		if w.Verdict.ID == id && w.Who != "" {
			approved = w.Verdict // an operator's own, which detection does not know yet
		}
	}
	err := n.controller.Approve(id, who)
	if errors.Is(err, controller.ErrNotWaiting) {
		return fmt.Errorf("%w: %q", api.ErrNotWaiting, id)
	}
	if err != nil {
		return &api.OrderError{Text: err.Error()}
	}
	if approved.ID != "" {
		n.stage.Watch(approved)
	}
	return nil
}

// Lift implements api.Node.
func (n *node) Lift(id, who string) error {
	if n.controller == nil {
		return api.ErrNoMitigation
	}
	lifted := detect.Verdict{ID: id}
	if active, ok := n.controller.Verdict(id); ok {
		lifted = active.Verdict
	}
	for _, waiting := range n.controller.Waiting() {
		if waiting.Verdict.ID == id && lifted.Time == 0 {
			lifted = waiting.Verdict
		}
	}
	err := n.controller.Lift(id, who)
	if errors.Is(err, controller.ErrUnknownVerdict) {
		return fmt.Errorf("%w: %q", api.ErrUnknownVerdict, id)
	}
	if err != nil {
		return err
	}
	lifted.Time = time.Now().UnixNano()
	lifted.Message = "Lifted by " + who + "."
	n.stage.Lifted(lifted)
	return nil
}

// Off implements api.Node.
func (n *node) Off(who string) error {
	if n.controller == nil {
		return api.ErrNoMitigation
	}
	return n.controller.Off(who)
}

// On implements api.Node.
func (n *node) On(who string) error {
	if n.controller == nil {
		return api.ErrNoMitigation
	}
	return n.controller.On(who)
}
