// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/control_socket.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "common/fd.h"
#include "common/listener.h"
#include "common/log.h"
#include "common/seldom.h"
#include "common/zap.h"
#include "common/zmq_socket.h"

namespace ssi {
namespace {

// A draft option's number (zmq.h, ZMQ_BUILD_DRAFT_API): Debian's header hides it, its library has it. Without
// it a handler that fails to answer lets everybody in.
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

// libzmq aborts when its threads get no descriptors: a context and two sockets take a dozen.
constexpr std::size_t context_needs = 20, bind_needs = 4;

// How long nobody is taken when there were no descriptors for one.
constexpr std::uint64_t deaf_ms = 1'000;

struct Endpoint {
  std::string host, port;  // host without brackets
  bool ip6 = false;
};

Result<Endpoint> parse_endpoint(const std::string& address) {
  const auto bad = [&] { return failure("'" + address + "' is not HOST:PORT"); };
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return bad();
  Endpoint endpoint{address.substr(0, colon), address.substr(colon + 1), address.front() == '['};
  unsigned port = 0;
  const auto* end = endpoint.port.data() + endpoint.port.size();
  if (const auto read = std::from_chars(endpoint.port.data(), end, port);
      read.ec != std::errc() || read.ptr != end || port == 0 || port > 65535)
    return bad();
  if (endpoint.ip6) {
    if (endpoint.host.size() < 3 || endpoint.host.back() != ']') return bad();
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  const std::string_view allowed = endpoint.ip6 ? "0123456789abcdefABCDEF:.%" : ".-_";
  for (const char c : endpoint.host)
    if (allowed.find(c) == std::string_view::npos &&
        (endpoint.ip6 || !std::isalnum(static_cast<unsigned char>(c))))
      return bad();
  return endpoint;
}

// Why nobody takes connections there: libzmq retries without saying. Blocks for at most 2 s; empty: somebody
// does.
std::string probe(const Endpoint& endpoint) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = endpoint.ip6 ? AF_INET6 : AF_INET;
  if (const int status = ::getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &list);
      status != 0)
    return endpoint.host + ": " + ::gai_strerror(status);
  const Fd socket(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int error = !socket ? errno : ::connect(socket.get(), list->ai_addr, list->ai_addrlen) == 0 ? 0 : errno;
  ::freeaddrinfo(list);
  if (error == EINPROGRESS) {
    pollfd wait{socket.get(), POLLOUT, 0};
    socklen_t size = sizeof error;
    if (::poll(&wait, 1, 2'000) < 1)
      error = ETIMEDOUT;
    else if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
      error = errno;
  }
  if (error == 0) return {};
  if (error == ECONNREFUSED) return "connection refused";
  auto text = std::error_code(error, std::generic_category()).message();
  text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace

// ---------------------------------------------------------------------------------------------- the
// scheduler's side

struct ControlServer::Impl {
  ZmqContext context;  // outlives the sockets
  std::unique_ptr<Zap> zap;
  ZmqSocket socket{context, ZMQ_ROUTER};
  ZmqSocket monitor{context, ZMQ_PAIR};
  std::string at, bound;  // where it listens, and libzmq's name for that; "": it does not, just now
  std::unique_ptr<Timer> again;
  Seldom said;
  std::shared_ptr<Events> events;  // shared: a callback may destroy the server

  void take();
  Status watch_refusals(Loop& loop);
  void take_refusal();
  int bind();
  void listen_again();
};

// Out of descriptors, libzmq tries to accept a connection that waits again and again, as fast as it can. So it stops listening
// for a while. libzmq hangs up on all who came through that listener; they try again by themselves.
Status ControlServer::Impl::watch_refusals(Loop& loop) {
  const char* events_at = "inproc://refusals";
  monitor.set(ZMQ_RCVHWM, 0);  // or libzmq's thread could wait for us while we wait for it
  if (zmq_socket_monitor(socket.get(), events_at, ZMQ_EVENT_ACCEPT_FAILED) != 0 ||
      zmq_connect(monitor.get(), events_at) != 0)
    return failure(std::string("monitor a ZeroMQ socket: ") + zmq_strerror(zmq_errno()));
  again = std::make_unique<Timer>(loop);
  monitor.watch(loop, [this] { take_refusal(); });
  return {};
}

void ControlServer::Impl::take_refusal() {
  const auto frames = monitor.receive();
  std::int32_t error = 0;  // behind the number of the event
  if (frames.empty() || frames[0].bytes.size() < sizeof(std::uint16_t) + sizeof error) return;
  std::memcpy(&error, frames[0].bytes.data() + sizeof(std::uint16_t), sizeof error);
  if ((error != EMFILE && error != ENFILE) || bound.empty()) return;  // several are said before it stops
  zmq_unbind(socket.get(), std::exchange(bound, {}).c_str());
  if (said.is_due()) log::error("no new connections for a while: {}", no_descriptors());
  again->once(deaf_ms, [this] { listen_again(); });
}

// By another name than its own libzmq would look it up to unbind it, and aborts when it has no descriptor for that.
int ControlServer::Impl::bind() {
  if (zmq_bind(socket.get(), at.c_str()) != 0) return -1;
  char name[256] = "";
  std::size_t size = sizeof name;
  zmq_getsockopt(socket.get(), ZMQ_LAST_ENDPOINT, name, &size);
  bound = name;
  return 0;
}

void ControlServer::Impl::listen_again() {
  if (!descriptors_left(bind_needs) || bind() != 0) again->once(deaf_ms, [this] { listen_again(); });
}

void ControlServer::Impl::take() {
  auto frames = socket.receive();
  if (frames.empty()) return;
  const auto held = events;
  const Peer peer{frames.front().bytes, key_of_user(frames.back().user)};
  // A connection outlives the admission of its key: ask again.
  if (peer.curve_key.empty() || !held->admit(peer.curve_key)) {
    const auto refused = wire::encode(wire::Refused{0, "the scheduler no longer admits this key"});
    socket.send({peer.route, refused});
    return;
  }
  if (held->longest && frames.size() > 1 && frames[1].bytes.size() > held->longest(peer.curve_key)) return;
  if (frames.size() != 2) return held->malformed(peer, Error{{}, "control message of several frames"});
  auto message = wire::decode_control(frames[1].bytes);
  if (!message) return held->malformed(peer, message.error());
  held->message(peer, std::move(*message));
}

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;

Result<std::unique_ptr<ControlServer>> ControlServer::listen(Loop& loop, const std::string& address,
                                                             const Identity& self, Events events) {
  const auto endpoint = parse_endpoint(address);
  if (!endpoint) return tl::make_unexpected(endpoint.error());
  auto impl = std::make_unique<Impl>();
  impl->events = std::make_shared<Events>(std::move(events));
  auto zap = Zap::start(loop, impl->context, [held = impl->events](std::string_view key) {
    return held->connect ? held->connect(key) : held->admit(key);
  });
  if (!zap) return tl::make_unexpected(zap.error());
  impl->zap = std::move(*zap);
  auto& socket = impl->socket;
  harden(socket, wire::max_control);
  socket.set(ZMQ_CURVE_SERVER, 1);
  socket.set(ZMQ_CURVE_SECRETKEY, self.curve_secret());
  socket.set(ZMQ_ZAP_DOMAIN, Zap::domain);
  socket.set(ZMQ_ZAP_ENFORCE_DOMAIN, 1);
  socket.set(ZMQ_IPV6, endpoint->ip6 ? 1 : 0);
  impl->at = "tcp://" + address;
  if (auto watching = impl->watch_refusals(loop); !watching) return tl::make_unexpected(watching.error());
  if (impl->bind() != 0) return failure("listen on " + address + ": " + zmq_strerror(zmq_errno()));
  socket.watch(loop, [self_impl = impl.get()] { self_impl->take(); });
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

bool ControlServer::is_deaf() const {
  return impl_->bound.empty();
}

void ControlServer::send(const std::string& route, const wire::Control& message) {
  const auto bytes = wire::encode(message);
  if (bytes.size() <= wire::max_control) impl_->socket.send({route, bytes});
}

// -------------------------------------------------------------------------------------- the agents' and
// deputies' side

struct ControlClient::Impl {
  Impl(Loop& on, const std::string& to, Endpoint parsed, std::string_view server, const Identity& self,
       Events called)
      : loop(on),
        address(to),
        endpoint(std::move(parsed)),
        server_fingerprint(fingerprint(server)),
        own_fingerprint(fingerprint(self.public_key())),
        events(std::make_shared<Events>(std::move(called))),
        redial(on) {
    redial.unref();
  }
  ~Impl() { *alive = false; }

  Status start(const std::string& curve_key, const Identity& self);
  void take();
  void take_event();
  void on_event(int event);
  void redial_soon();
  void ask_why();
  void become(Link next, const std::string& why);

  Loop& loop;
  std::string address;
  Endpoint endpoint;
  std::string server_fingerprint, own_fingerprint;
  std::shared_ptr<Events> events;  // shared: a callback may destroy the client
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  Link state = Link::connecting;
  std::string why_down;
  bool asking = false;
  int broken_off = 0;  // handshakes, since the last good one
  Timer redial;
  ZmqContext context;  // outlives the sockets
  ZmqSocket socket{context, ZMQ_DEALER};
  ZmqSocket monitor{context, ZMQ_PAIR};
};

Status ControlClient::Impl::start(const std::string& curve_key, const Identity& self) {
  harden(socket, wire::max_control);
  socket.set(ZMQ_CURVE_SERVERKEY, curve_key);
  socket.set(ZMQ_CURVE_PUBLICKEY, self.curve_public());
  socket.set(ZMQ_CURVE_SECRETKEY, self.curve_secret());
  socket.set(ZMQ_RECONNECT_IVL, 100);
  socket.set(ZMQ_RECONNECT_IVL_MAX, 1'000);
  socket.set(ZMQ_IPV6, endpoint.ip6 ? 1 : 0);
  const char* events_at = "inproc://monitor";
  if (zmq_socket_monitor(socket.get(), events_at, ZMQ_EVENT_ALL) != 0 ||
      zmq_connect(monitor.get(), events_at) != 0)
    return failure(std::string("monitor a ZeroMQ socket: ") + zmq_strerror(zmq_errno()));
  monitor.watch(loop, [this] { take_event(); });
  socket.watch(loop, [this] { take(); });
  if (zmq_connect(socket.get(), ("tcp://" + address).c_str()) != 0)
    return failure("connect to " + address + ": " + zmq_strerror(zmq_errno()));
  return {};
}

void ControlClient::Impl::take() {
  const auto frames = socket.receive();
  if (frames.size() != 1) return;
  // What a scheduler that we trust sends and we cannot read is of a newer version: not for us.
  if (auto message = wire::decode_control(frames[0].bytes)) {
    const auto held = events;
    held->message(std::move(*message));
  }
}

void ControlClient::Impl::take_event() {
  const auto frames = monitor.receive();
  if (frames.empty() || frames[0].bytes.size() < sizeof(std::uint16_t)) return;
  std::uint16_t event = 0;
  std::memcpy(&event, frames[0].bytes.data(), sizeof event);
  on_event(event);
}

void ControlClient::Impl::on_event(int event) {
  switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      redial.stop();
      broken_off = 0;
      return become(Link::up, "");
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      redial_soon();
      return become(Link::down, "the scheduler refused our key " + own_fingerprint);
    // One with another key hangs up without a word; so does one that is killed just then, but only once.
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      if (++broken_off < 2) return;
      return become(Link::down, address + " is not the scheduler with key " + server_fingerprint);
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      redial_soon();
      return become(Link::down, address + " is not the scheduler with key " + server_fingerprint);
    case ZMQ_EVENT_DISCONNECTED:
      if (state == Link::up) become(Link::down, "the connection was lost");
      return;
    case ZMQ_EVENT_CONNECT_RETRIED:
      return ask_why();
    default:
      return;
  }
}

// After a refused handshake libzmq never tries again by itself (it does after a lost connection): the key may
// be admitted later, or the right scheduler come back to this address.
void ControlClient::Impl::redial_soon() {
  redial.once(500, [this] {
    const auto to = "tcp://" + address;
    zmq_disconnect(socket.get(), to.c_str());
    zmq_connect(socket.get(), to.c_str());
  });
}

void ControlClient::Impl::ask_why() {
  if (state == Link::up || asking) return;
  asking = true;
  auto found = std::make_shared<std::string>();
  loop.queue_work([found, where = endpoint] { *found = probe(where); },
                  [this, found, held = alive] {
                    if (!*held) return;
                    asking = false;
                    if (state != Link::up && !found->empty()) become(Link::down, *found);
                  });
}

void ControlClient::Impl::become(Link next, const std::string& why) {
  if (state == next && why_down == why) return;
  state = next;
  why_down = why;
  const auto held = events;
  if (held->link) held->link(next, why);
}

ControlClient::ControlClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlClient::~ControlClient() = default;

Result<std::unique_ptr<ControlClient>> ControlClient::connect(Loop& loop, const std::string& address,
                                                              std::string_view server_key,
                                                              const Identity& self, Events events) {
  auto endpoint = parse_endpoint(address);
  if (!endpoint) return tl::make_unexpected(endpoint.error());
  if (!descriptors_left(context_needs)) return failure("connect to " + address + ": " + no_descriptors());
  const auto curve_key = curve_key_of(server_key);
  if (!curve_key) return because("the scheduler's key", curve_key.error());
  auto impl =
      std::make_unique<Impl>(loop, address, std::move(*endpoint), server_key, self, std::move(events));
  if (auto started = impl->start(*curve_key, self); !started) return tl::make_unexpected(started.error());
  return std::unique_ptr<ControlClient>(new ControlClient(std::move(impl)));
}

ControlClient::Link ControlClient::link() const {
  return impl_->state;
}
const std::string& ControlClient::why_down() const {
  return impl_->why_down;
}

void ControlClient::send(const wire::Control& message) {
  const auto bytes = wire::encode(message);
  if (bytes.size() <= wire::max_control) impl_->socket.send({bytes});
}

}  // namespace ssi
