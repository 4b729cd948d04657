package sitemap

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"offpath/reassembly"
)

func request(i int, endpoint string) *reassembly.Transaction {
	tx := &reassembly.Transaction{Start: int64(i) * 1e9, End: int64(i)*1e9 + 5e6, Duration: 5e6}
	tx.Client = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	tx.Request.MIMEType, tx.Request.BodyBytes, tx.Request.UserAgent = "application/json", 100, "okhttp/4.12"
	tx.Response = reassembly.Response{Status: 200, BodyBytes: 1000, MIMEType: "application/json", Signature: reassembly.Signature{Media: "json"}}
	tx.Auth.Carrier = "bearer"
	tx.Annotation.Endpoint = endpoint
	return tx
}

func TestAnEndpointIsDescribed(t *testing.T) {
	m := New(0)
	for i := range 100 {
		tx := request(i, "POST api.bank.example/accounts/{accountId}/transfers")
		tx.Annotation.Role = "transfer"
		if i < 10 {
			tx.Response.Status, tx.Auth.Carrier = 401, ""
		}
		m.Observe(tx)
	}
	e := m.Endpoints()[0]
	assert.Equal(t, Counts[int]{{401, 10}, {200, 90}}, e.Statuses)
	assert.Equal(t, Counts[string]{{"", 10}, {"bearer", 90}}, e.Carriers)
	assert.Equal(t, Counts[string]{{"transfer", 100}}, e.Roles)
	assert.InEpsilon(t, 5e6, float64(e.Latency.At(0.95)), 1.0/64)
	assert.InEpsilon(t, 1000, float64(e.Sent.At(0.5)), 1.0/64)
	assert.InDelta(t, 100, e.Clients.Count(), 5)
	assert.EqualValues(t, 0, e.First)
	assert.EqualValues(t, 99e9, e.Last)
	assert.Equal(t, "mobile", e.Kind())
}

func TestClassesOfSensitiveDataAreCountedWhereTheyWereLookedFor(t *testing.T) {
	m := New(0)
	for i := range 30 {
		tx := request(i, fmt.Sprint("GET a/users/", i%2))
		if i%3 > 0 {
			tx.Sensitive.Add(reassembly.PlaceResponseBody, 0)
		}
		if i%3 == 2 {
			tx.Sensitive.Add(reassembly.PlaceResponseBody, reassembly.ClassIBAN.Of()|reassembly.ClassEmail.Of())
		}
		m.Observe(tx)
	}
	m.Renamed("GET a/users/0", "GET a/users/{userId}")
	m.Renamed("GET a/users/1", "GET a/users/{userId}")
	e := m.Endpoints()[0]
	assert.EqualValues(t, 20, e.Looked)
	assert.Equal(t, map[string]uint64{"response.body.iban": 10, "response.body.email": 10}, e.Sensitive)
	assert.Equal(t, object{"response.body.iban": uint64(10), "response.body.email": uint64(10)}, e.facts()["sensitive"])
	assert.EqualValues(t, 20, e.facts()["sensitive_looked"])
	assert.NotContains(t, saw(nil, "GET a/b").Endpoints()[0].facts(), "sensitive", "nobody looked")
}

func TestARenamedEndpointKeepsWhatIsKnown(t *testing.T) {
	m := New(0)
	for i := range 30 {
		m.Observe(request(i, fmt.Sprint("GET a/users/", i%3)))
	}
	for i := range 3 {
		m.Renamed(fmt.Sprint("GET a/users/", i), "GET a/users/{userId}")
	}
	m.Observe(request(30, "GET a/users/{userId}"))
	list := m.Endpoints()
	require.Len(t, list, 1)
	assert.EqualValues(t, 31, list[0].Requests)
	assert.EqualValues(t, 31, list[0].Statuses.Of(200))
	assert.EqualValues(t, 31, list[0].Latency.Count())
	assert.Equal(t, []string{"GET a/users/0", "GET a/users/1", "GET a/users/2"}, list[0].Aliases)
}

func TestWhatIsNotThereIsNotDescribedAndRoomIsBounded(t *testing.T) {
	m := New(3)
	for i := range 10 {
		tx := request(i, fmt.Sprint("GET a/", i))
		if i < 5 {
			tx.Response.Status = 404
		}
		m.Observe(tx)
	}
	assert.Len(t, m.Endpoints(), 3)
	assert.EqualValues(t, 2, m.Lost())
}

func TestWhatNobodyAsksForMakesRoomForWhatIsNew(t *testing.T) {
	const day = 24 * 3600
	m := New(3)
	for i, name := range []string{"GET a/often", "GET a/often", "GET a/once", "GET a/often", "GET a/today"} {
		m.Observe(request(i, name))
	}
	m.Observe(request(day+1, "GET a/today"))
	names := func() (list []string) {
		for _, e := range m.Endpoints() {
			list = append(list, e.Name)
		}
		return list
	}
	m.Observe(request(day+1, "GET a/new"))
	assert.Equal(t, []string{"GET a/often", "GET a/once", "GET a/today"}, names(), "not before a day is over")
	assert.EqualValues(t, 1, m.Lost())
	m.Observe(request(day+10, "GET a/new"))
	assert.Equal(t, []string{"GET a/new", "GET a/often", "GET a/today"}, names(), "first what was asked for the least")
	assert.EqualValues(t, 1, m.Forgotten())
	m.Observe(request(day+11, "GET a/newer"))
	m.Observe(request(day+12, "GET a/newest"))
	assert.Equal(t, []string{"GET a/new", "GET a/newer", "GET a/today"}, names(), "never what is asked for")
	assert.EqualValues(t, 2, m.Lost())
}

func TestTheDocumentSaysOfWhichTimeItIs(t *testing.T) {
	m := New(0)
	assert.NotContains(t, string(must(m.JSON(nil))), "x-offpath-since")
	long := request(2, "GET a/slow")
	long.Start = 1e9
	for _, tx := range []*reassembly.Transaction{request(2, "GET a/b"), long, request(3, "GET a/b")} {
		m.Observe(tx)
	}
	text := string(must(m.JSON(nil)))
	assert.Contains(t, text, `"x-offpath-since": "1970-01-01T00:00:01Z"`, "when the first began, though it ended later")
	assert.Contains(t, text, `"x-offpath-until": "1970-01-01T00:00:03.005Z"`)
}

func TestKeysAreBoundedInNumberAndSize(t *testing.T) {
	m := New(0)
	for i := range 100 {
		tx := request(i, "GET a/b")
		tx.Response.MIMEType = fmt.Sprint("x/", i)
		tx.Request.MIMEType = strings.Repeat("y", 255+i)
		m.Observe(tx)
	}
	e := m.Endpoints()[0]
	assert.Len(t, e.Media, 16)
	assert.Equal(t, Counts[string]{{strings.Repeat("y", 255), 1}}, e.RequestMedia)
}

func TestAnEndpointTakesABoundedAmountOfMemoryWhateverIsSent(t *testing.T) {
	const endpoints = 64
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := New(endpoints)
	long := strings.Repeat("/{id}"+strings.Repeat("x", 60), 20) // longer than the learner of names makes them
	for i := range endpoints {
		name := fmt.Sprint("GET a/", i, long)
		for j := range maxKept {
			former := fmt.Sprint(name, j)
			m.Observe(request(j, former))
			m.Renamed(former, name)
		}
		for j := range 200 {
			tx := request(j, name)
			tx.Duration, tx.Request.BodyBytes, tx.Response.BodyBytes = 1<<(j%63), 1<<(j%63), 1<<(j%63)
			tx.Request.MIMEType = fmt.Sprint(strings.Repeat("x", 252), j)
			tx.Response.MIMEType, tx.Annotation.Role, tx.Auth.Carrier = tx.Request.MIMEType, tx.Request.MIMEType, tx.Request.MIMEType
			tx.Response.Status = 200 + j
			tx.Sensitive = 1<<63 - 1
			m.Observe(tx)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, float64(after.HeapAlloc-before.HeapAlloc)/endpoints, 110e3)
	runtime.KeepAlive(m)
}

func TestACopyStaysWhatItWas(t *testing.T) {
	m := New(0)
	var maps []*Map
	var texts []string
	read := make(chan string)
	reading := 0
	for i := range 400 {
		tx := request(i, fmt.Sprint("GET a/users/", i%7))
		tx.Sensitive.Add(reassembly.PlaceResponseBody, reassembly.ClassIBAN.Of())
		tx.Response.Status, tx.Response.MIMEType = 200+i%5, fmt.Sprint("x/y", i%9)
		m.Observe(tx)
		switch {
		case i%50 == 25:
			m.Renamed(fmt.Sprint("GET a/users/", i%7), "GET a/users/{userId}")
		case i%20 == 0:
			texts = append(texts, string(must(m.JSON(nil))))
			maps = append(maps, m.Copy())
			of := maps[len(maps)-1]
			reading++
			go func() { read <- string(must(of.JSON(nil))) }() // while the map goes on
		}
	}
	for i := range maps {
		assert.Equal(t, texts[i], string(must(maps[i].JSON(nil))))
	}
	for range reading {
		assert.Contains(t, texts, <-read)
	}
}

func TestACopyOfAMapCostsTheMapNothingButAList(t *testing.T) {
	m := New(0)
	for i := range 1000 {
		m.Observe(request(i, fmt.Sprint("GET a/", i)))
	}
	assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { m.Copy() }), 2.0)
}

func TestAgentsOfMobileSoftwareAreKnown(t *testing.T) {
	for agent, want := range map[string]bool{
		"okhttp/4.12.0": true, "Bank/3.1 CFNetwork/1494.0.7 Darwin/23.4.0": true, "Dart/3.3 (dart:io)": true,
		"Dalvik/2.1.0 (Linux; U; Android 14)": true, "Bank/1 Alamofire/5.8": true,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36": false, "okhttp": false, "okhttp 4/1": false, "": false, "/": false,
	} {
		assert.Equal(t, want, Mobile(agent), agent)
	}
}

func TestQuantilesAreOffByASixtyFourthAtMost(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, limit := range []int64{10, 1000, 1e6, 1e12, 1 << 62} {
		var all []int64
		var parts [3]Quantiles
		for i := range 10000 {
			v := rng.Int64N(limit)
			all = append(all, v)
			parts[i%3].Add(v)
		}
		slices.Sort(all)
		sum := &parts[0]
		sum.Merge(&parts[1])
		sum.Merge(&parts[2])
		require.EqualValues(t, 10000, sum.Count())
		for _, p := range []float64{0.01, 0.5, 0.95, 1} {
			exact := float64(all[int(p*10000)-1])
			assert.InDelta(t, exact, float64(sum.At(p)), exact/64+0.5, "%v of %v", p, limit)
		}
		assert.LessOrEqual(t, len(sum.counts), 64<<subBits)
	}
}

// hostile is a map of what clients and servers may send.
func hostile() *Map {
	m := New(0)
	for i, name := range []string{
		"GET a/", "GET b/", "POST a/graphql#Pay", "POST a/graphql#Login", "OPTIONS a*", "BREW a/pot", "GET a/{id}/{id2}", "DELETE a/{id}/{id2}", "GET a/{x}y/{x}", "GET a/{",
		"GET a/}{}{a b}/%zz/\xff/☃", "GET [::1]/x:y/{jobId}:cancel", "GET /nohost", "GET a b/c", "", "PUT a/\"<>\\^`|",
	} {
		tx := request(i, name)
		tx.Response.MIMEType = []string{"application/json", "", "x", "a/b c", "\xff/x", "text/html"}[i%6]
		tx.Response.Status = []int{200, 204, 302, 999, 0, 500}[i%6]
		tx.Auth.Carrier = []string{"", "basic", "cookie", "api_key", "form", "bearer"}[i%6]
		tx.Annotation.Role = []string{"", "login", "\xff"}[i%3]
		m.Observe(request(i, name))
		m.Observe(tx)
	}
	return m
}

func TestTheDocumentIsValidOpenAPI(t *testing.T) {
	m := hostile()
	text, err := m.YAML(nil)
	require.NoError(t, err)
	again, err := hostile().YAML(nil)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(again), "the same map gives the same octets")
	asJSON, err := m.JSON(nil)
	require.NoError(t, err)
	var a, b any
	require.NoError(t, yaml.Unmarshal(text, &a))
	require.NoError(t, json.Unmarshal(asJSON, &b))
	a, err = json.Marshal(a)
	require.NoError(t, err)
	b, err = json.Marshal(b)
	require.NoError(t, err)
	assert.JSONEq(t, string(b.([]byte)), string(a.([]byte)))
	for _, text := range [][]byte{text, asJSON, must(New(0).YAML(nil))} {
		assert.Empty(t, problems(t, text))
	}
	assert.NotEmpty(t, problems(t, []byte(`{"openapi":"3.1.0","info":{"title":"no version"},"paths":{}}`)), "the validator is strict")
	assert.NotEmpty(t, problems(t, []byte(`{"openapi":"3.1.0","info":{"title":"a","version":"1"},"paths":{"/":{"get":{"responses":{"200":{}}}}}}`)))
}

// problems is what a strict validator finds in a document.
func problems(t *testing.T, text []byte) (list []string) {
	doc, err := libopenapi.NewDocument(text)
	require.NoError(t, err)
	v, errs := validator.NewValidator(doc)
	require.Empty(t, errs)
	_, found := v.ValidateDocument()
	for _, p := range found {
		list = append(list, p.Message+": "+p.Reason)
		for _, s := range p.SchemaValidationErrors {
			list = append(list, s.Reason)
		}
	}
	return list
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

func TestObservingAllocatesNothing(t *testing.T) {
	m := New(0)
	tx := request(1, "GET a/b")
	m.Observe(tx)
	assert.Zero(t, testing.AllocsPerRun(100, func() { m.Observe(tx) }))
	m.Copy()
	m.Observe(tx)
	assert.Zero(t, testing.AllocsPerRun(100, func() { m.Observe(tx) }), "after what stood in the copy, too")
}
