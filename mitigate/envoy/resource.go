package envoy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimit "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	localratelimit "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	metadata "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"offpath/detect"
	"offpath/mitigate/internal/predicate"

	shared "offpath/mitigate/internal/lua"
)

// kind is one of the filters that Envoy asks for.
type kind int

const (
	verdicts kind = iota // who a request is from
	rates                // counts requests
	script               // acts
	kinds
)

// names of the resources, as the setup has them.
var names = [kinds]string{verdicts: "offpath_verdicts", rates: "offpath_rates", script: "offpath_script"}

// MaxRates is the most different rates, and MaxClients the most clients that are counted at
// a time, of all rates together: beyond that Envoy forgets the one that came least lately.
const (
	MaxRates   = 64
	MaxClients = 1 << 16
)

// wrapped is a filter as a resource.
func wrapped(k kind, filter proto.Message) (*anypb.Any, error) {
	deterministic := proto.MarshalOptions{Deterministic: true}
	inner := new(anypb.Any)
	if err := anypb.MarshalFrom(inner, filter, deterministic); err != nil {
		return nil, fmt.Errorf("make %s: %w", names[k], err)
	}
	outer := new(anypb.Any)
	if err := anypb.MarshalFrom(outer, &core.TypedExtensionConfig{Name: names[k], TypedConfig: inner}, deterministic); err != nil {
		return nil, fmt.Errorf("make %s: %w", names[k], err)
	}
	return outer, nil
}

// never is when a bucket would get another token: a period has a bucket of its own, and is
// a day at most.
const never = 366 * 24 * time.Hour

// buildRates makes the filter that counts: a bucket per tier, period and client address, and
// one without end for who has no rate.
func buildRates(tiers []string) *localratelimit.LocalRateLimit {
	const unlimited = 1<<32 - 1
	always := func() *core.RuntimeFractionalPercent {
		return &core.RuntimeFractionalPercent{DefaultValue: &envoytype.FractionalPercent{Numerator: 100}}
	}
	said := func(name string) *route.RateLimit_Action {
		return &route.RateLimit_Action{ActionSpecifier: &route.RateLimit_Action_Metadata{Metadata: &route.RateLimit_Action_MetaData{
			DescriptorKey: name,
			MetadataKey: &metadata.MetadataKey{Key: "offpath", Path: []*metadata.MetadataKey_PathSegment{
				{Segment: &metadata.MetadataKey_PathSegment_Key{Key: name}},
			}},
		}}}
	}
	filter := &localratelimit.LocalRateLimit{
		StatPrefix:                      "offpath",
		FilterEnabled:                   always(),
		FilterEnforced:                  always(),
		TokenBucket:                     &envoytype.TokenBucket{MaxTokens: unlimited, TokensPerFill: wrapperspb.UInt32(unlimited), FillInterval: durationpb.New(time.Second)},
		AlwaysConsumeDefaultTokenBucket: wrapperspb.Bool(false),
		MaxDynamicDescriptors:           wrapperspb.UInt32(MaxClients),
		RateLimits: []*route.RateLimit{{Actions: []*route.RateLimit_Action{
			said("rate"), said("period"),
			{ActionSpecifier: &route.RateLimit_Action_RemoteAddress_{RemoteAddress: &route.RateLimit_Action_RemoteAddress{}}},
		}}},
	}
	for _, tier := range tiers {
		requests, _, _ := strings.Cut(tier, "/")
		n, _ := strconv.ParseUint(requests, 10, 32)
		filter.Descriptors = append(filter.Descriptors, &ratelimit.LocalRateLimitDescriptor{
			Entries:     []*ratelimit.RateLimitDescriptor_Entry{{Key: "rate", Value: tier}, {Key: "period"}, {Key: "remote_address"}},
			TokenBucket: &envoytype.TokenBucket{MaxTokens: uint32(n), TokensPerFill: wrapperspb.UInt32(1), FillInterval: durationpb.New(never)},
		})
	}
	return filter
}

// predicateRow is a predicate of the script.
type predicateRow struct {
	shape predicate.Shape
	row   string
}

// buildScript makes the filter that acts. All that comes from outside is hex digits,
// numbers and names of header fields.
func buildScript(mode detect.Mode, rows map[string]predicateRow, ignore []string) *lua.Lua {
	var b strings.Builder
	number := max(0, slices.Index(modes[:], mode))
	fmt.Fprintf(&b, "local mode = %d\nlocal ignore_names = %q\n", number, strings.Join(ignore, " "))
	if number == 0 {
		rows = nil // a short order, however many there are
	}
	there := map[predicate.Shape]bool{}
	b.WriteString("local rows_text = [[\n")
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		there[rows[key].shape] = true
		b.WriteString(key + " " + rows[key].row + "\n")
	}
	b.WriteString("]]\nlocal shapes_text = \"")
	for _, shape := range slices.Sorted(maps.Keys(there)) {
		fmt.Fprintf(&b, "%d ", shape)
	}
	b.WriteString("\"\n")
	return &lua.Lua{
		DefaultSourceCode: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: b.String() + shared.Shared + "\n" + scriptText}},
		ClearRouteCache:   wrapperspb.Bool(false),
	}
}

// modes by the script's numbers.
var modes = [...]detect.Mode{detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce}
