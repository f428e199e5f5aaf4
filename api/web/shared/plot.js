// A small plot: from numbers to the path of an SVG. Pure but for `draw`.

const STEPS = [1, 2, 5];

/** The least 1, 2, 5, 10, 20, 50 … that is not below any of the numbers. */
export function ceilingOf(numbers) {
  const most = numbers.reduce((one, other) => Math.max(one, other), 0);
  for (let ten = 1; ; ten *= 10) {
    const step = STEPS.find((each) => each * ten >= most);
    if (step) return step * ten;
  }
}

/** The means of each `size` numbers that follow each other; of the last ones too, where fewer are left. */
export function means(numbers, size) {
  const groups = [];
  for (let at = 0; at < numbers.length; at += size) {
    const group = numbers.slice(at, at + size);
    groups.push(group.reduce((one, other) => one + other, 0) / group.length);
  }
  return groups;
}

/** The path of a line through the numbers, in a box of this size; `ceiling` is its upper edge, 0 its lower one. */
export function linePath(numbers, width, height, ceiling) {
  const step = numbers.length > 1 ? width / (numbers.length - 1) : 0;
  const y = (value) => round(height - (Math.min(value, ceiling) / ceiling) * height);
  return numbers.map((value, place) => `${place ? "L" : "M"}${round(place * step)} ${y(value)}`).join("");
}

/** The same, closed to an area above the lower edge. */
export function areaPath(numbers, width, height, ceiling) {
  if (numbers.length === 0) return "";
  return `${linePath(numbers, width, height, ceiling)}L${width} ${height}L0 ${height}Z`;
}

const round = (value) => Math.round(value * 10) / 10;

/** Draw into an <svg> that has a path.area and a path.line; its viewBox says how large it is. The upper edge's value. */
export function draw(svg, numbers) {
  const { width, height } = svg.viewBox.baseVal;
  const ceiling = ceilingOf(numbers);
  svg.querySelector(".area").setAttribute("d", areaPath(numbers, width, height, ceiling));
  svg.querySelector(".line").setAttribute("d", linePath(numbers, width, height, ceiling));
  return ceiling;
}
