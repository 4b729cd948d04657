package envoy

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	extension "github.com/envoyproxy/go-control-plane/envoy/service/extension/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// typeURL of what is discovered.
const typeURL = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

const (
	maxReason = 500 // octets of an Envoy's words that are kept
	maxNode   = 100
)

// discoverer answers streams of discovery requests (xDS, state of the world), one
// resource in each response, and the next when Envoy has answered.
type discoverer struct {
	extension.UnimplementedExtensionConfigDiscoveryServiceServer
	fleet *fleet
}

// StreamExtensionConfigs implements the service.
func (d *discoverer) StreamExtensionConfigs(stream extension.ExtensionConfigDiscoveryService_StreamExtensionConfigsServer) error {
	c := connectionOf(stream.Context())
	if c == nil {
		return status.Error(codes.Internal, "no connection")
	}
	requests, failed := make(chan *discovery.DiscoveryRequest), make(chan error, 1)
	go func() {
		for {
			request, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- request:
			case <-stream.Context().Done():
				return
			}
		}
	}()

	s := session{fleet: d.fleet, connection: c}
	defer s.close()
	for {
		var changed <-chan struct{}
		if s.nonce == "" {
			response, wait := s.next()
			if response != nil {
				if err := stream.Send(response); err != nil {
					return err
				}
				continue
			}
			changed = wait
		}
		select {
		case request := <-requests:
			if err := s.take(request); err != nil {
				return err
			}
		case <-changed:
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// session is the state of a stream.
type session struct {
	fleet      *fleet
	connection *connection
	greeted    bool
	asked      [kinds]bool
	sent       [kinds]uint64
	number     uint64
	// nonce of the response that is not answered yet, and what was in it.
	nonce   string
	kind    kind
	version uint64
}

// take reads a request.
func (s *session) take(r *discovery.DiscoveryRequest) error {
	if r.GetTypeUrl() != "" && r.GetTypeUrl() != typeURL {
		return status.Errorf(codes.InvalidArgument, "only extension configurations are discovered here")
	}
	if !s.greeted {
		s.greeted = true
		if err := s.fleet.greet(s.connection, cut(r.GetNode().GetId(), maxNode), softwareOf(r.GetNode())); err != nil {
			return status.Error(codes.ResourceExhausted, err.Error())
		}
	}
	if nonce := r.GetResponseNonce(); nonce != "" {
		if nonce != s.nonce {
			return nil // of a response before the last
		}
		s.nonce = ""
		reason := ""
		if r.GetErrorDetail() != nil {
			reason = cut(r.GetErrorDetail().GetMessage(), maxReason)
			if reason == "" {
				reason = "no reason given"
			}
		}
		s.fleet.answered(s.connection, s.kind, s.version, reason)
	}
	var asked [kinds]bool
	for _, name := range r.GetResourceNames() {
		for k := range kinds {
			asked[k] = asked[k] || name == names[k]
		}
	}
	s.subscribe(asked)
	return nil
}

// subscribe notes what the stream asks for from now on. What it asks for anew it gets, also
// when it had it before.
func (s *session) subscribe(asked [kinds]bool) {
	for k := range kinds {
		switch {
		case asked[k] && !s.asked[k]:
			s.sent[k] = 0
			s.fleet.subscribe(s.connection, k, 1)
		case !asked[k] && s.asked[k]:
			s.fleet.subscribe(s.connection, k, -1)
		}
	}
	s.asked = asked
}

// next is a response with what is new, or how to wait for it.
func (s *session) next() (*discovery.DiscoveryResponse, <-chan struct{}) {
	k, r, more, changed := s.fleet.next(s.asked, s.sent)
	if !more {
		return nil, changed
	}
	s.number++
	s.nonce, s.kind, s.version, s.sent[k] = strconv.FormatUint(s.number, 36), k, r.version, r.version
	return &discovery.DiscoveryResponse{
		VersionInfo: s.fleet.life + "/" + strconv.FormatUint(r.version, 10),
		Resources:   []*anypb.Any{r.body},
		TypeUrl:     typeURL,
		Nonce:       s.nonce,
	}, nil
}

func (s *session) close() { s.subscribe([kinds]bool{}) }

// softwareOf is the version of a node's software.
func softwareOf(n *core.Node) string {
	v := n.GetUserAgentBuildVersion().GetVersion()
	if v == nil {
		return cut(n.GetUserAgentVersion(), maxNode)
	}
	return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
}

// cut is the beginning of a text that somebody else wrote.
func cut(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "?")
}
