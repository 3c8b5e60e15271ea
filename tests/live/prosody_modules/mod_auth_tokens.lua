-- Accounts of another provider, that tokens open too: OAUTHBEARER (RFC 7628), which Prosody 0.12 lacks.
-- tokens_file holds a token and the name of its account on each line, and is read at each login.

local json = require "util.json";
local sasl = require "util.sasl";

local accounts_name = module:get_option_string("tokens_accounts", "internal_plain");
local tokens_path = module:get_option_string("tokens_file");

local function account_of(token)
	local file = io.open(tokens_path);
	if not file then return nil; end
	for line in file:lines() do
		local known, name = line:match("^(%S+) (%S+)$");
		if known == token then
			file:close();
			return name;
		end
	end
	file:close();
	return nil;
end

-- The client's first message (section 3.1): a GS2 header without channel binding, then key=value pairs.
local function parse(message)
	local authzid, fields = message:match("^n,([^,]*),(\1.*\1)\1$");
	local token = fields and fields:match("\1auth=[Bb][Ee][Aa][Rr][Ee][Rr] +([%w._~+/-]+=*)\1");
	return token, authzid and authzid:match("^a=(.+)$");
end

-- A refusal takes a round trip (sections 3.2.2 and 3.2.3): the reason, the client's %x01, the failure.
local function oauthbearer(self, message)
	if self.refused then
		return "failure", message == "\1" and "not-authorized" or "malformed-request";
	end
	local token, authzid = parse(message or "");
	if not token then return "failure", "malformed-request"; end
	local name = self.profile.oauthbearer(token);
	if not name or authzid and authzid ~= name.."@"..self.realm then
		self.refused = true;
		return "challenge", json.encode({ status = "invalid_token" });
	end
	self.username = name;
	return "success", "";
end

sasl.registerMechanism("OAUTHBEARER", { "oauthbearer" }, oauthbearer);

module:depends("auth_"..accounts_name);
local accounts;
for _, provider in ipairs(module:get_host_items("auth-provider")) do
	if provider.name == accounts_name then accounts = provider; end
end

local provider = {};
for name, each in pairs(accounts) do
	if type(each) == "function" then provider[name] = each; end
end

function provider.get_sasl_handler(session)
	local profile = {};
	for backend, f in pairs(accounts.get_sasl_handler(session).profile) do
		profile[backend] = f;
	end
	profile.mechanisms = nil;
	function profile.oauthbearer(token)
		local name = account_of(token);
		return name and accounts.user_exists(name) and name or nil;
	end
	return sasl.new(module.host, profile);
end

module:provides("auth", provider);
