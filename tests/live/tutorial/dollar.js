// What the tutorial's page uses of jQuery 1.4.2, and nothing else: $(selector, element or "<html>"), ready,
// click, attr (which read and set properties then) and append.
function $(what) {
    var nodes;
    if (typeof what !== "string") {
        nodes = [what];
    } else if (what.charAt(0) === "<") {
        var template = document.createElement("template");
        template.innerHTML = what;
        nodes = Array.prototype.slice.call(template.content.childNodes);
    } else {
        nodes = Array.prototype.slice.call(document.querySelectorAll(what));
    }
    return {
        nodes: nodes,
        ready: function(callback) {
            document.addEventListener("DOMContentLoaded", callback);
        },
        click: function(callback) {
            nodes.forEach(function(node) { node.addEventListener("click", callback); });
        },
        attr: function(name, value) {
            if (value === undefined) return nodes[0][name];
            nodes.forEach(function(node) { node[name] = value; });
        },
        append: function(content) {
            nodes[0].append.apply(nodes[0], content.nodes || [content]);
        }
    };
}
