package netscalertest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// errUndefined is what an expression without a value has.
var errUndefined = errors.New("undefined")

// request is what expressions look at.
type request struct {
	client   netip.Addr
	header   http.Header // of the request
	response http.Header // nil: there is none yet
	api      *API
}

// node evaluates a part of an expression: to a string, bool, int32, netip.Addr or
// []string, the fields of a header.
type node func(r *request) (any, error)

// maxExpression is the most octets of an expression.
const maxExpression = 1499

// parser reads advanced policy expressions, as far as the printed commands have them.
type parser struct {
	text string
	at   int
}

func parseExpression(text string) (n node, err error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("an expression of %d octets is longer than %d", len(text), maxExpression)
	}
	p := &parser{text: text}
	if n, err = p.or(); err != nil {
		return nil, fmt.Errorf("%w at %d of %s", err, p.at, text)
	}
	if p.space(); p.at != len(text) {
		return nil, fmt.Errorf("at %d it goes on: %s", p.at, text)
	}
	return n, nil
}

func (p *parser) space() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

func (p *parser) take(s string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

func (p *parser) or() (node, error)  { return p.logic("||", true, p.and) }
func (p *parser) and() (node, error) { return p.logic("&&", false, p.sum) }

// logic reads operands of an operator that ends at the first that is decisive.
func (p *parser) logic(operator string, decisive bool, operand func() (node, error)) (node, error) {
	left, err := operand()
	for err == nil && p.take(operator) {
		var right node
		if right, err = operand(); err != nil {
			break
		}
		before := left
		left = func(r *request) (any, error) {
			v, err := before(r)
			b, ok := v.(bool)
			if err != nil || !ok || b == decisive {
				return v, err
			}
			return right(r)
		}
	}
	return left, err
}

func (p *parser) sum() (node, error) {
	left, err := p.chain()
	for err == nil && p.take("+") {
		var right node
		if right, err = p.chain(); err != nil {
			break
		}
		before := left
		left = func(r *request) (any, error) {
			a, err := before(r)
			if err != nil {
				return nil, err
			}
			b, err := right(r)
			if err != nil {
				return nil, err
			}
			x, ok1 := a.(string)
			y, ok2 := b.(string)
			if !ok1 || !ok2 {
				return nil, fmt.Errorf("%T + %T", a, b)
			}
			return x + y, nil
		}
	}
	return left, err
}

func (p *parser) word() string {
	p.space()
	begin := p.at
	for p.at < len(p.text) && (p.text[p.at] == '_' || p.text[p.at] >= 'A' && p.text[p.at] <= 'Z' || p.text[p.at] >= '0' && p.text[p.at] <= '9') {
		p.at++
	}
	return p.text[begin:p.at]
}

// chain reads a value with what is asked of it.
func (p *parser) chain() (node, error) {
	var value node
	switch {
	case p.take("("):
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, errors.New("no )")
		}
		value = n
	case p.take(`"`):
		end := strings.IndexByte(p.text[p.at:], '"')
		if end < 0 {
			return nil, errors.New("no end of the text")
		}
		text := strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(p.text[p.at : p.at+end])
		p.at += end + 1
		value = func(*request) (any, error) { return text, nil }
	default:
		root, err := p.root()
		if err != nil {
			return nil, err
		}
		value = root
	}
	for p.take(".") {
		name := p.word()
		args, err := p.arguments()
		if err != nil {
			return nil, err
		}
		method, ok := methods[name]
		if !ok {
			return nil, fmt.Errorf("no expression %q", name)
		}
		before := value
		value = func(r *request) (any, error) {
			v, err := before(r)
			if err != nil {
				return nil, err
			}
			return method(r, v, args)
		}
	}
	return value, nil
}

// arguments are a literal, or the time.
func (p *parser) arguments() ([]any, error) {
	if p.at >= len(p.text) || p.text[p.at] != '(' {
		return nil, nil
	}
	p.at++
	if p.take("SYS.TIME.TYPECAST_NUM_AT)") {
		return []any{node(func(*request) (any, error) { return int32(time.Now().Unix()), nil })}, nil
	}
	end := strings.IndexByte(p.text[p.at:], ')')
	if end < 0 {
		return nil, errors.New("no )")
	}
	text := p.text[p.at : p.at+end]
	p.at += end + 1
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return []any{int32(n)}, nil
	}
	return []any{strings.Trim(text, `"`)}, nil
}

func (p *parser) root() (node, error) {
	for name, n := range roots {
		if p.take(name) {
			return n, nil
		}
	}
	for name, response := range map[string]bool{"HTTP.REQ.HEADER": false, "HTTP.RES.HEADER": true} {
		if p.take(name) {
			args, err := p.arguments()
			if err != nil || len(args) != 1 {
				return nil, fmt.Errorf("header %v, %w", args, err)
			}
			field := fmt.Sprint(args[0])
			return func(r *request) (any, error) {
				if response {
					return r.response.Values(field), nil
				}
				return r.header.Values(field), nil
			}, nil
		}
	}
	return nil, errors.New("no such prefix")
}

var roots = map[string]node{
	"TRUE": func(*request) (any, error) { return true, nil },
	"CLIENT.IP.SRC": func(r *request) (any, error) {
		if !r.client.Is4() {
			return nil, errUndefined
		}
		return r.client, nil
	},
	"CLIENT.IPV6.SRC": func(r *request) (any, error) {
		if !r.client.Is6() {
			return nil, errUndefined
		}
		return r.client, nil
	},
}

// methods are what can be asked of a value.
var methods = map[string]func(r *request, v any, args []any) (any, error){
	"TYPECAST_TEXT_T": func(_ *request, v any, _ []any) (any, error) {
		return v.(netip.Addr).String(), nil
	},
	"SUBNET": func(_ *request, v any, args []any) (any, error) {
		p, err := v.(netip.Addr).Prefix(int(args[0].(int32)))
		return p.Addr(), err
	},
	"MAP_STRING": func(r *request, v any, args []any) (any, error) {
		m, err := r.api.stringMap(args[0].(string))
		return m[v.(string)], err
	},
	"IS_STRINGMAP_KEY": func(r *request, v any, args []any) (any, error) {
		m, err := r.api.stringMap(args[0].(string))
		_, ok := m[v.(string)]
		return ok, err
	},
	"EQUALS_ANY": func(r *request, v any, args []any) (any, error) {
		return r.api.inDataSet(args[0].(string), v.(string))
	},
	"EQ":     func(_ *request, v any, args []any) (any, error) { return v.(string) == args[0].(string), nil },
	"NOT":    func(_ *request, v any, _ []any) (any, error) { return !v.(bool), nil },
	"EXISTS": func(_ *request, v any, _ []any) (any, error) { return len(v.([]string)) > 0, nil },
	"STARTSWITH": func(_ *request, v any, args []any) (any, error) {
		return strings.HasPrefix(v.(string), args[0].(string)), nil
	},
	"AFTER_STR": func(_ *request, v any, args []any) (any, error) {
		_, after, _ := strings.Cut(v.(string), args[0].(string))
		return after, nil
	},
	"BEFORE_STR": func(_ *request, v any, args []any) (any, error) {
		before, _, ok := strings.Cut(v.(string), args[0].(string))
		if !ok {
			before = ""
		}
		return before, nil
	},
	"TYPECAST_NUM_T": func(_ *request, v any, _ []any) (any, error) {
		n, err := strconv.ParseInt(v.(string), 10, 64)
		if err != nil || n > math.MaxInt32 {
			return nil, errUndefined
		}
		return int32(n), nil
	},
	"GT": func(r *request, v any, args []any) (any, error) {
		than, err := args[0].(node)(r)
		if err != nil {
			return nil, err
		}
		return v.(int32) > than.(int32), nil
	},
}
