# Ruby's stomp gem as a puppet of a Python test, with reliable: true if it comes back.
#
#   ruby ruby_stomp.rb HOST:PORT HEARTBEAT_MS COMES_BACK

require "base64"
require "json"
require "stomp"

$stdout.sync = true
$stdin.set_encoding("UTF-8")
OUT = Mutex.new

def tell(event, more = {})
  line = JSON.generate({ event: event }.merge(more))
  OUT.synchronize { $stdout.write(line + "\n") }
end

# Hears of each connection that the library makes.
class Connections < Stomp::NullLogger
  def on_connected(_params)
    tell("connected")
  end
end

address, heartbeat, comes_back = ARGV
host, port = address.split(":")
connection = Stomp::Connection.new(
  hosts: [{ login: "", passcode: "", host: host, port: port.to_i, ssl: false }],
  reliable: comes_back == "1",
  initial_reconnect_delay: 0.2,
  use_exponential_back_off: false,
  logger: Connections.new,
  connect_headers: {
    "accept-version" => "1.2",
    "host" => "localhost",
    "heart-beat" => "#{heartbeat},#{heartbeat}",
  },
)

messages = []
names = {}
count = 0
is_leaving = false

Thread.new do
  loop do
    message = connection.receive
    break if message.nil?
    headers = message.headers
    case message.command
    when "MESSAGE"
      messages << message
      number = messages.size - 1
      tell("message", number: number, headers: headers, base64: Base64.strict_encode64(message.body))
    when "RECEIPT"
      name = names.delete(headers["receipt-id"]) # a SUBSCRIBE that is repeated asks for it again
      tell("receipt", name: name) unless name.nil?
    when "ERROR"
      tell("error", message: headers["message"])
    end
  end
rescue StandardError => e
  tell("error", message: e.class.name) unless is_leaving
end

if heartbeat != "0"
  # Its own count leaves out the heart-beats that come while receive() waits; the time of the last
  # line that it read does not.
  Thread.new do
    known = nil
    loop do
      sleep 0.05
      last = connection.instance_variable_get(:@lr)
      tell("heartbeat") if known && last != known
      known = last
    end
  end
end

receipt = lambda do |name|
  id = "receipt-#{count += 1}"
  names[id] = name
  { "receipt" => id }
end

$stdin.each_line do |line|
  order = JSON.parse(line)
  headers = order["headers"] || {}
  case order["op"]
  when "subscribe"
    # The library repeats the headers when it is connected again, the receipt too.
    connection.subscribe(order["destination"], headers.merge(receipt.call(headers["id"])), headers["id"])
  when "unsubscribe"
    connection.unsubscribe("", { "id" => order["id"] }.merge(receipt.call(order["id"])), order["id"])
  when "send"
    more = order["confirm"].nil? ? headers : headers.merge(receipt.call(order["confirm"]))
    connection.publish(order["destination"], Base64.strict_decode64(order["base64"]), more)
  when "ack", "nack"
    message = messages[order["message"]]
    connection.public_send(order["op"], message.headers["ack"], headers)
  when "begin", "commit", "abort"
    connection.public_send(order["op"], order["name"])
  when "leave"
    is_leaving = true
    begin
      connection.disconnect
    rescue IOError => e
      # The server has answered DISCONNECT with the end, and the thread above has closed the socket
      # before the library has come back from writing.
      raise unless e.message == "stream closed in another thread"
    end
    tell("left")
  end
end
