# A receiver in Ruby (gem install webrick): WEBHOOK_SECRET=... PORT=8080 ruby receiver.rb
require "openssl"
require "webrick"

SECRET = ENV.fetch("WEBHOOK_SECRET")
KEY = SECRET.start_with?("whsec_") ? SECRET.delete_prefix("whsec_").unpack1("m0") : SECRET
abort "WEBHOOK_SECRET is empty" if KEY.empty?
TOLERANCE_SECONDS = 300

# Returns whether the message was signed with the secret, just now.
def verified?(body, id, timestamp, signatures)
  # with a stop in the id, a part of a signed body could pass as the timestamp
  return false unless id.match?(/\A[A-Za-z0-9_-]{1,200}\z/)
  return false unless timestamp.match?(/\A\d+\z/) && (Time.now.to_i - timestamp.to_i).abs <= TOLERANCE_SECONDS

  expected = "v1," + [OpenSSL::HMAC.digest("SHA256", KEY, "#{id}.#{timestamp}.".b + body)].pack("m0")
  signatures.split.any? { |given| OpenSSL.secure_compare(given, expected) }
end

server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: Integer(ENV.fetch("PORT", "8080")),
  Logger: WEBrick::Log.new($stderr, WEBrick::Log::WARN), AccessLog: []
)
server.mount_proc("/") do |request, response|
  body = (request.body || "").b # the bytes as received
  id, timestamp, signatures = %w[webhook-id webhook-timestamp webhook-signature].map { |name| request[name] || "" }
  if verified?(body, id, timestamp, signatures)
    # store it here, unless its id is known; do what takes longer after the answer
    puts "#{id} #{body.force_encoding("UTF-8")}"
  else
    response.status = 401
  end
end

$stdout.sync = true
puts "Listening on http://127.0.0.1:#{server.listeners.first.addr[1]}/"
trap("TERM") { server.shutdown }
server.start
