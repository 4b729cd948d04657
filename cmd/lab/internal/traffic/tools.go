package traffic

import (
	"math/rand/v2"
	"slices"
)

// agents are what tools claim to be; some customers have the same browsers.
var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:102.0) Gecko/20100101 Firefox/102.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
}

// strange draws software until it is none that customers have, to who looks at
// what the program itself decides.
func strange(customers []*software, draw func() *software) *software {
	for {
		s := draw()
		c := core(s)
		if !slices.ContainsFunc(customers, func(o *software) bool { return core(o) == c }) {
			return s
		}
	}
}

// tool is software of the A1 kind, as OpenBullet and its relatives send it: a
// browser's or the app's name, and fields that neither sends so. Orders and
// fields are drawn.
func tool(r *rand.Rand, model *software) *software {
	agent := pick(r, agents)
	if r.Float64() < 0.4 {
		agent = model.get("User-Agent")
	}
	fields := [][2]string{
		{"User-Agent", agent}, {"Pragma", "no-cache"}, {"Accept", "*/*"}, {"Content-Type", ""}, {"Content-Length", ""}, {"Host", ""},
	}
	if r.Float64() < 0.6 {
		fields = append(fields, [2]string{"Accept-Encoding", pick(r, []string{"gzip, deflate", "gzip", "identity"})})
	}
	if r.Float64() < 0.5 {
		fields = append(fields, [2]string{"Accept-Language", "en-US,en;q=0.8"})
	}
	if r.Float64() < 0.5 {
		fields = append(fields, [2]string{"Connection", "keep-alive"})
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	fields = append(fields, [2]string{"Authorization", ""}, [2]string{"Cookie", ""})
	return &software{name: "tool", channel: model.channel, fields: fields, ja4: pick(r, toolHandshakes)}
}

// toolHandshakes are JA4 of libraries that tools are built on.
var toolHandshakes = []string{"t13d190900_9dc949149365_97f8aa674fd9", "t13d1512h2_8daaf6152771_a06f0f9b1d0c", "t12d120600_5b57614c22b0_3d5424432f57"}

// imperfect is software of the A2 kind: a copy of a program with one or two
// mistakes in it, and without the calls that it makes before a login.
func imperfect(r *rand.Rand, model *software) *software {
	s := model.clone("imperfect mimic of " + model.name)
	s.bootstrap = 0
	s.ja4 = pick(r, toolHandshakes)
	for range 1 + r.IntN(2) {
		mistake(r, s)
	}
	return s
}

// mistake changes something about how a program sends its requests.
func mistake(r *rand.Rand, s *software) {
	switch r.IntN(6) {
	case 0: // two fields change places
		telling := []string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language"}
		i, j := s.index(pick(r, telling)), s.index(pick(r, telling))
		if i >= 0 && j >= 0 {
			s.fields[i], s.fields[j] = s.fields[j], s.fields[i]
		}
	case 1: // one that the program always sends is forgotten
		s.remove(pick(r, []string{"Accept-Language", "Accept-Encoding", "Accept"}))
	case 2: // one that it never sends is there
		for _, f := range [][2]string{{"Accept-Language", "en-US"}, {"Accept-Charset", "utf-8"}, {"Pragma", "no-cache"}} {
			if s.index(f[0]) < 0 {
				s.insert(r.IntN(len(s.fields)), f)
				return
			}
		}
	case 3:
		s.set("Accept-Encoding", pick(r, []string{"gzip, deflate", "gzip, deflate, br, zstd", "identity", "gzip,deflate,br"}))
	case 4: // nobody but the client's own side can tell
		s.set("Accept", pick(r, []string{"*/*", "application/json, text/plain, */*"}))
	case 5:
		s.set("User-Agent", s.get("User-Agent")+pick(r, []string{" okhttp/4.9.3", "; wv", " CFNetwork"}))
	}
}

// perfect is software of the A3 kind and better: nothing tells it from the
// program.
func perfect(model *software) *software { return model.clone("perfect mimic of " + model.name) }
