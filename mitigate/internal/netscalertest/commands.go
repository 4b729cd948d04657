package netscalertest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// policy is a rule with an action.
type policy struct {
	rule   node
	action string
}

// action is what a responder or rewrite policy does.
type action struct {
	kind, target string
	text         node // what it answers or inserts
}

// bound is a policy in a label.
type bound struct {
	priority int
	policy   string
	jump     string // END, NEXT or a priority
}

// policies are those of one feature.
type policies struct {
	policies map[string]policy
	actions  map[string]action
	labels   map[string][]bound
}

func newPolicies(none string) *policies {
	return &policies{map[string]policy{}, map[string]action{none: {kind: none}}, map[string][]bound{}}
}

// words splits a command as the command line does: by spaces, but for "text" and q~text~.
func words(line string) (list []string, err error) {
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		end := ""
		switch {
		case strings.HasPrefix(line, "q~"):
			line, end = line[2:], "~"
		case strings.HasPrefix(line, `"`):
			line, end = line[1:], `"`
		default:
			var word string
			word, line, _ = strings.Cut(line, " ")
			list = append(list, word)
			continue
		}
		word, rest, ok := strings.Cut(line, end)
		if !ok {
			return nil, errors.New("no end of a quoted text")
		}
		list, line = append(list, word), rest
	}
	return list, nil
}

// run carries out one command.
func (a *API) run(line string) error {
	w, err := words(line)
	if err != nil {
		return err
	}
	if len(w) < 4 {
		return errors.New("no such command")
	}
	feature := map[string]*policies{"responder": a.responder, "rewrite": a.rewrite}[w[1]]
	name := w[3]
	if strings.Join(w[:3], " ") == "add policy stringmap" && (len(w) == 4 || len(w) == 6 && w[4] == "-comment") {
		a.running[name] = set{kind: "stringmap", values: map[string]string{}}
		a.comments[name] = strings.Join(w[min(5, len(w)):], " ")
		return nil
	}
	if strings.Join(w[:3], " ") == "add policy dataset" && len(w) == 5 && (w[4] == "ipv4" || w[4] == "ipv6") {
		a.running[name] = set{kind: w[4], values: map[string]string{}}
		return nil
	}
	if feature == nil {
		return errors.New("no such command")
	}
	switch w[0] + " " + w[2] {
	case "add policy":
		if len(w) != 6 {
			return errors.New("not a rule and an action")
		}
		if _, ok := feature.actions[w[5]]; !ok || feature.policies[name].rule != nil {
			return errors.New("no such action, or the policy is there already")
		}
		rule, err := parseExpression(w[4])
		feature.policies[name] = policy{rule, w[5]}
		return err
	case "add action":
		act := action{kind: w[4]}
		rest := w[5:]
		if w[1] == "rewrite" && len(rest) > 0 {
			act.target, rest = rest[0], rest[1:]
		}
		needs := map[string]int{"respondwith": 1, "insert_http_header": 1, "delete_http_header": 0}
		if n, ok := needs[act.kind]; !ok || n != len(rest) {
			return errors.New("no such action")
		}
		if len(rest) == 1 {
			if act.text, err = parseExpression(rest[0]); err != nil {
				return err
			}
		}
		feature.actions[name] = act
		return nil
	case "add policylabel":
		if _, twice := feature.labels[name]; twice || w[1] == "rewrite" && (len(w) != 5 || w[4] != "http_req") {
			return errors.New("the label is there already, or is of no kind")
		}
		feature.labels[name] = []bound{}
		return nil
	case "bind policylabel":
		if len(w) != 7 {
			return errors.New("not a policy, a priority and where to go on")
		}
		label, ok := feature.labels[name]
		priority, err := strconv.Atoi(w[5])
		if !ok || err != nil || feature.policies[w[4]].rule == nil {
			return errors.New("no such label, policy or priority")
		}
		if n, err := strconv.Atoi(w[6]); w[6] != "END" && w[6] != "NEXT" && (err != nil || n <= priority) {
			return errors.New("it can't go on there")
		}
		for _, b := range label {
			if b.priority == priority {
				return errors.New("the priority is taken")
			}
		}
		label = append(label, bound{priority, w[4], w[6]})
		slices.SortFunc(label, func(a, b bound) int { return a.priority - b.priority })
		feature.labels[name] = label
		return nil
	}
	return errors.New("no such command")
}

// evaluate gives the actions of the policies of a label that match, in order.
func (p *policies) evaluate(label string, r *request) (actions []action, err error) {
	from := 0
	for _, b := range p.labels[label] {
		if b.priority < from {
			continue
		}
		matched, err := p.policies[b.policy].rule(r)
		if errors.Is(err, errUndefined) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", b.policy, err)
		}
		if yes, ok := matched.(bool); !ok {
			return nil, fmt.Errorf("policy %s: its rule is a %T", b.policy, matched)
		} else if !yes {
			continue
		}
		actions = append(actions, p.actions[p.policies[b.policy].action])
		if b.jump == "END" {
			break
		}
		if n, err := strconv.Atoi(b.jump); err == nil {
			from = n
		}
	}
	return actions, nil
}
